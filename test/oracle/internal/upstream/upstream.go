// Package upstream stands in for every endpoint of every cluster. It keeps what
// it receives as it came, byte for byte: net/http refuses paths that Envoy
// forwards, and tidies others.
package upstream

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The headers by which a request speaks to the stand-ins.
const (
	// ID names the request. What has none is not noted.
	ID = "X-O-Id"
	// Fail is the status that every attempt is answered with.
	Fail = "X-O-Fail"
	// Answer holds a header of the answer, as "name: value".
	Answer = "X-O-Answer"
	// Hold keeps the answer back for good.
	Hold = "X-O-Hold"
	// Name is the header of every answer that names the stand-in's cluster.
	Name = "X-O-Upstream"
)

// Hit is one request as a stand-in saw it.
type Hit struct {
	Cluster, Method, Path, Host, Protocol string
	Header                                http.Header
}

// Upstreams are the stand-ins of one Envoy: one loopback port per cluster.
type Upstreams struct {
	certificate tls.Certificate

	mu        sync.Mutex
	addresses map[string]string
	hits      map[string][]Hit
	arrived   chan struct{} // closed and made anew with each hit
	listeners []net.Listener
	open      map[net.Conn]bool
	closed    bool
}

// New returns stand-ins that answer TLS with certificate.
func New(certificate tls.Certificate) *Upstreams {
	return &Upstreams{
		certificate: certificate, addresses: map[string]string{}, hits: map[string][]Hit{},
		arrived: make(chan struct{}), open: map[net.Conn]bool{},
	}
}

// Close ends all stand-ins and their connections.
func (u *Upstreams) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, l := range u.listeners {
		l.Close()
	}
	for c := range u.open {
		c.Close()
	}
}

// Address returns where a cluster's stand-in listens, and starts it on first
// use.
func (u *Upstreams) Address(cluster string) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a := u.addresses[cluster]; a != "" {
		return a, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("stand-in of cluster %s: %w", cluster, err)
	}
	u.addresses[cluster] = l.Addr().String()
	u.listeners = append(u.listeners, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go u.serve(c, cluster)
		}
	}()
	return u.addresses[cluster], nil
}

// Take returns the hits of a request and forgets them.
func (u *Upstreams) Take(id string) []Hit {
	u.mu.Lock()
	defer u.mu.Unlock()
	hits := u.hits[id]
	delete(u.hits, id)
	return hits
}

// Left returns how many requests have hits that nobody took.
func (u *Upstreams) Left() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.hits)
}

// Arrived returns a channel that is closed when the next hit arrives, and how
// many of the request there are now. A mirrored request comes when it comes.
func (u *Upstreams) Arrived(id string) (next <-chan struct{}, hits int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.arrived, len(u.hits[id])
}

// Settle returns when no hit has arrived for as long as quiet.
func (u *Upstreams) Settle(quiet time.Duration) {
	for quiet > 0 {
		next, _ := u.Arrived("")
		select {
		case <-next:
		case <-time.After(quiet):
			return
		}
	}
}

func (u *Upstreams) note(h Hit) {
	id := h.Header.Get(ID)
	if id == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hits[id] = append(u.hits[id], h)
	close(u.arrived)
	u.arrived = make(chan struct{})
}

func (u *Upstreams) track(c net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.open[c] = true
	return true
}

func (u *Upstreams) forget(c net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, c)
}

type peeked struct {
	net.Conn
	reader *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// serve finds out what a connection speaks: TLS around the rest, HTTP/2, or
// HTTP/1.1.
func (u *Upstreams) serve(c net.Conn, cluster string) {
	defer c.Close()
	if !u.track(c) {
		return
	}
	defer u.forget(c)
	reader := bufio.NewReader(c)
	first, err := reader.Peek(1)
	if err != nil {
		return
	}
	if first[0] == 0x16 {
		// It agrees to no protocol: the client says what it likes to.
		c = tls.Server(peeked{c, reader}, &tls.Config{Certificates: []tls.Certificate{u.certificate}})
		reader = bufio.NewReader(c)
	}
	if start, _ := reader.Peek(len(preface)); bytes.Equal(start, []byte(preface)) {
		u.serveHTTP2(reader, c, cluster)
		return
	}
	for u.serveHTTP1(reader, c, cluster) == nil {
	}
}

// serveHTTP1 answers one request.
func (u *Upstreams) serveHTTP1(r *bufio.Reader, w io.Writer, cluster string) error {
	text := textproto.NewReader(r)
	line, err := text.ReadLine()
	if err != nil {
		return err
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return err
	}
	method, rest, _ := strings.Cut(line, " ")
	at := strings.LastIndexByte(rest, ' ')
	if at < 0 {
		return fmt.Errorf("request line %q", line)
	}
	h := Hit{Cluster: cluster, Method: method, Path: rest[:at], Protocol: rest[at+1:], Header: http.Header(header), Host: header.Get("Host")}
	if err := skipBody(r, h.Header); err != nil {
		return err
	}
	u.note(h)
	if h.Header.Get(Hold) != "" {
		_, err := io.Copy(io.Discard, r) // until Envoy has had enough
		return err
	}
	status, extra := answer(h)
	if protocol := h.Header.Get("Upgrade"); protocol != "" && status == http.StatusOK {
		status, extra = http.StatusSwitchingProtocols, append(extra, [2]string{"connection", "upgrade"}, [2]string{"upgrade", protocol})
		cluster = "" // what follows is of the other protocol
	}
	var out strings.Builder
	fmt.Fprintf(&out, "HTTP/1.1 %d x\r\ncontent-length: %d\r\n", status, len(cluster))
	for _, x := range extra {
		fmt.Fprintf(&out, "%s: %s\r\n", x[0], x[1])
	}
	out.WriteString("\r\n")
	if method != http.MethodHead {
		out.WriteString(cluster)
	}
	_, err = io.WriteString(w, out.String())
	return err
}

func skipBody(r *bufio.Reader, header http.Header) error {
	if n, _ := strconv.ParseInt(header.Get("Content-Length"), 10, 64); n > 0 {
		_, err := io.CopyN(io.Discard, r, n)
		return err
	}
	if header.Get("Transfer-Encoding") != "chunked" {
		return nil
	}
	if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(r)); err != nil {
		return err
	}
	_, err := textproto.NewReader(r).ReadLine()
	return err
}

// answer returns the status and headers that a request asked for.
func answer(h Hit) (status int, extra [][2]string) {
	status = http.StatusOK
	if code, err := strconv.Atoi(h.Header.Get(Fail)); err == nil {
		status = code
	}
	extra = [][2]string{{strings.ToLower(Name), h.Cluster}}
	for _, v := range h.Header[Answer] {
		if name, value, ok := strings.Cut(v, ": "); ok {
			extra = append(extra, [2]string{name, value})
		}
	}
	return status, extra
}
