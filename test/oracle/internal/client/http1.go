package client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// lines is a connection of HTTP/1.1.
type lines struct {
	net.Conn
	reader *bufio.Reader
}

func newLines(conn net.Conn) *lines { return &lines{Conn: conn, reader: bufio.NewReader(conn)} }

func (l *lines) exchange(r Request) (*Answer, bool, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Host)
	for _, h := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, false, err
	}
	if _, err := io.WriteString(l, b.String()); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrReset, err)
	}
	response, err := http.ReadResponse(l.reader, &http.Request{Method: r.Method})
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrReset, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrReset, err)
	}
	again := !response.Close && response.Header.Get(Probe) != "" && response.StatusCode != http.StatusSwitchingProtocols
	return &Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}, again, nil
}
