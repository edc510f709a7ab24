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

// ListenEverywhere is Listen on all addresses, for a network namespace that
// nobody else is in.
func ListenEverywhere(preferred int, required bool) (net.Listener, error) {
	return find("0.0.0.0", preferred, required)
}

// Listen listens on the preferred port of 127.0.0.1. If that is taken, or 0,
// it takes a free one, unless the preferred one is required.
func Listen(preferred int, required bool) (net.Listener, error) {
	return find("127.0.0.1", preferred, required)
}

func find(host string, preferred int, required bool) (net.Listener, error) {
	if preferred != 0 {
		l, err := listen(host, preferred)
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
		l, err = listen(host, first+rand.IntN(last-first))
		if err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d: %w", first, last, err)
}

func listen(host string, port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
}

// Of returns the port of a listener, or 0 if it is not TCP.
func Of(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}
