package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// tunnel is a connection inside of a stream of HTTP/2 (HBONE): what is written
// to it arrives as it is.
type tunnel struct {
	net.Conn // what carries it; its deadlines are those of the tunnel
	in       io.ReadCloser
	out      *io.PipeWriter
}

// newTunnel asks the other side of conn by CONNECT for a connection to an
// "ip:port". The tunnel ends with ctx.
func newTunnel(ctx context.Context, conn net.Conn, to string) (*tunnel, error) {
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{DialContext: dial, DialTLSContext: dial, Protocols: &http.Protocols{}}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	scheme := "http"
	if _, encrypted := conn.(*tls.Conn); encrypted {
		scheme = "https"
	}
	// Unlike the transport itself, it does not try again.
	carrier, err := transport.NewClientConn(ctx, scheme, to)
	if err != nil {
		return nil, fmt.Errorf("%w: tunnel: %w", ErrReset, err)
	}
	reader, writer := io.Pipe()
	answer, err := carrier.RoundTrip((&http.Request{ //nolint:bodyclose // Close does, or the error leaves none.
		Method: http.MethodConnect, URL: &url.URL{Scheme: scheme, Host: to}, Host: to, Header: http.Header{}, Body: reader,
	}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%w: tunnel: %w", ErrReset, err)
	}
	t := &tunnel{Conn: conn, in: answer.Body, out: writer}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%w: tunnel: %s", ErrReset, answer.Status), t.Close())
	}
	return t, nil
}

func (t *tunnel) Read(b []byte) (int, error) { return t.in.Read(b) }

func (t *tunnel) Write(b []byte) (int, error) { return t.out.Write(b) }

// Close ends the tunnel and what carries it.
func (t *tunnel) Close() error {
	return errors.Join(t.out.Close(), t.in.Close(), t.Conn.Close())
}
