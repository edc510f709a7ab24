// Package relay carries TCP connections across the border of a live cluster,
// whose network has no way in or out, through Unix sockets in the cluster's
// directory. In comes a listener and an address; each connection is handed to
// the other side together with the address that is meant, and the other side
// dials it. A half that is closed is closed at the other end too.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// The sockets of a cluster's directory.
const (
	// InSocket is served inside the cluster: addresses are dialed there.
	InSocket = "in.sock"
	// OutSocket is served on the host, for the names of Ways.
	OutSocket = "out.sock"
)

// Ways are the services of the host that a cluster may be let out to: the name
// that `lab expose` knows, and the port of host.lab.internal inside.
var Ways = map[string]int{"mizzen": 9402}

const (
	// most is how many connections of one listener are open at a time. More
	// wait to be accepted.
	most = 512
	// dialing is how long the other side may take to dial.
	dialing = 10 * time.Second
	// pause follows a failure to accept, such as for want of descriptors.
	pause = 50 * time.Millisecond
)

// Dial connects to an address.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// Listen listens on the named socket of dir, which only the owner may use. A
// socket of a former process is replaced.
func Listen(dir *os.File, name string) (net.Listener, error) {
	path := at(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket of a former relay: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("relay: %w", err)
	}
	return l, nil
}

// at is a path of a file in dir that fits the 108 bytes of a socket's name
// whatever the directory is called.
func at(dir *os.File, name string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), name)
}

// Through returns a Dial that has the server of the named socket of dir dial.
func Through(dir *os.File, name string) Dial {
	return func(ctx context.Context, address string) (net.Conn, error) {
		if len(address) > math.MaxUint8 {
			return nil, fmt.Errorf("relay: address of %d bytes", len(address))
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", at(dir, name))
		if err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		if _, err := conn.Write(append([]byte{byte(len(address))}, address...)); err != nil {
			conn.Close()
			return nil, fmt.Errorf("relay: %w", err)
		}
		return conn, nil
	}
}

// Forward joins every connection of l with one to address, until l is closed.
func Forward(l net.Listener, address string, dial Dial) {
	accept(l, func(ctx context.Context, _ net.Conn) (net.Conn, error) {
		return dial(ctx, address)
	})
}

// Serve joins every connection of l with one to the address that it asks for,
// until l is closed.
func Serve(l net.Listener, dial Dial) {
	accept(l, func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		address, err := asked(conn)
		if err != nil {
			return nil, err
		}
		return dial(ctx, address)
	})
}

// asked reads the address, and no byte of what follows: the kernel can then
// move the rest without us.
func asked(conn net.Conn) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(dialing)); err != nil {
		return "", err
	}
	var length [1]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return "", fmt.Errorf("relay: address: %w", err)
	}
	address := make([]byte, length[0])
	if _, err := io.ReadFull(conn, address); err != nil {
		return "", fmt.Errorf("relay: address: %w", err)
	}
	return string(address), conn.SetReadDeadline(time.Time{})
}

// accept joins every connection of l with the one that other returns. A
// connection for which there is no other is closed: that is all the client of
// a TCP relay can be told.
func accept(l net.Listener, other func(context.Context, net.Conn) (net.Conn, error)) {
	free := make(chan struct{}, most)
	for {
		free <- struct{}{}
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-free
			<-time.After(pause)
			continue
		}
		go func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(context.Background(), dialing)
			peer, err := other(ctx, conn)
			cancel()
			if err != nil {
				conn.Close()
				return
			}
			join(conn, peer)
		}()
	}
}

// join copies both ways until both have ended, and closes both.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { carry(a, b) })
	both.Go(func() { carry(b, a) })
	both.Wait()
	a.Close()
	b.Close()
}

// carry copies until from has no more, and closes that half of to. After a
// failure neither side is of use.
func carry(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if err != nil {
		to.Close()
		from.Close()
	}
}
