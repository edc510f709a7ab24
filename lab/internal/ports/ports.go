// Package ports finds ports on 127.0.0.1 for servers of the lab.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// Chosen ports lie below the range from which Linux by default takes the ports
// of outgoing connections (ip_local_port_range, 32768 to 60999): while a
// server is down, no client can sit on its port.
const (
	first = 20000
	last  = 32000
)

const attempts = 100

// Listen listens on the preferred port of 127.0.0.1. If that is taken, or 0,
// it takes a free one, unless the preferred one is required.
func Listen(preferred int, required bool) (net.Listener, error) {
	if preferred != 0 {
		l, err := listen(preferred)
		if err == nil {
			return l, nil
		}
		if required || !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	var err error
	for range attempts {
		var l net.Listener
		l, err = listen(first + rand.IntN(last-first))
		if err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d: %w", first, last, err)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// Of returns the port of a listener, or 0 if it is not TCP.
func Of(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}
