// Package client sends requests byte for byte, over HTTP/1.1 or HTTP/2, from
// and to addresses of its own choice: nothing normalises them on the way, and
// the PROXY protocol says what a kernel's redirection would have said.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// patience is how long one answer may take.
const patience = 20 * time.Second

// Peer is who sends: addresses as "ip:port", and what it says in TLS.
type Peer struct {
	Source, Destination string
	TLS                 *tls.Config // nil: plaintext
	// Tunnel is where to go through a tunnel that Destination takes, "" for
	// nowhere, and Inside what is said in TLS there.
	Tunnel string
	Inside *tls.Config
}

// encrypts tells whether requests are made in TLS.
func (p Peer) encrypts() bool {
	if p.Tunnel != "" {
		return p.Inside != nil
	}
	return p.TLS != nil
}

// Request is what goes over the wire.
type Request struct {
	Peer
	Method, Path, Host string
	Header             [][2]string
	HTTP2              bool
}

// Answer is what came back. Header has the trailers of HTTP/2, too.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Probe is a header that is in every answer that passed Envoy's HTTP filters.
// An answer without it came through a proxy of bytes, which then holds the
// connection for good.
const Probe = "x-o-details"

// Client keeps one connection for each Peer and protocol. It is for one
// goroutine.
type Client struct {
	// Address is that of Envoy's listener.
	Address string
	open    map[key]exchanger
}

type key struct {
	Peer
	http2 bool
}

// exchanger is one connection.
type exchanger interface {
	// exchange sends a request and returns its answer; again is whether the
	// connection can be used once more.
	exchange(Request) (a *Answer, again bool, err error)
	Close() error
}

// Close ends all connections.
func (c *Client) Close() {
	for _, x := range c.open {
		_ = x.Close() // nobody waits for what it says
	}
	c.open = nil
}

// Dial opens a connection of peer, with TLS and a tunnel if that has any.
func (c *Client) Dial(ctx context.Context, peer Peer) (net.Conn, error) {
	conn, err := c.carrier(ctx, peer)
	if err != nil || peer.Tunnel == "" {
		return conn, err
	}
	inside, err := newTunnel(ctx, conn, peer.Tunnel)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return secured(ctx, inside, peer.Inside)
}

// secured begins TLS on conn, if there is a configuration for that.
func secured(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return conn, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return secure, nil
}

// carrier opens a connection without its tunnel.
func (c *Client) carrier(ctx context.Context, peer Peer) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to envoy: %w", err)
	}
	if err := greet(conn, peer); err != nil {
		conn.Close()
		return nil, err
	}
	return secured(ctx, conn, peer.TLS)
}

func greet(conn net.Conn, peer Peer) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	source, sourcePort, err := net.SplitHostPort(peer.Source)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	destination, destinationPort, err := net.SplitHostPort(peer.Destination)
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	_, err = fmt.Fprintf(conn, "PROXY TCP4 %s %s %s %s\r\n", source, destination, sourcePort, destinationPort)
	return err
}

// Do sends r. A kept connection that turns out to be closed is opened anew,
// once.
func (c *Client) Do(ctx context.Context, r Request) (*Answer, error) {
	k := key{Peer: r.Peer, http2: r.HTTP2}
	x := c.open[k]
	kept := x != nil
	for {
		if x == nil {
			conn, err := c.Dial(ctx, r.Peer)
			if err != nil {
				return nil, err
			}
			if x, err = speak(conn, r.HTTP2); err != nil {
				conn.Close()
				return nil, err
			}
			if c.open == nil {
				c.open = map[key]exchanger{}
			}
			c.open[k] = x
		}
		a, again, err := x.exchange(r)
		if err != nil || !again {
			_ = x.Close() // it has ended, or is not to be used
			delete(c.open, k)
		}
		if err == nil || !kept {
			return a, err
		}
		x, kept = nil, false
	}
}

func speak(conn net.Conn, http2 bool) (exchanger, error) {
	if http2 {
		return newStreams(conn)
	}
	return newLines(conn), nil
}

// ErrReset is that the other side ended a connection without an answer.
var ErrReset = errors.New("the connection was closed without an answer")
