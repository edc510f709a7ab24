package e2e

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands before a server, so that it can be away without its clients
// having another address for it.
type relay struct {
	t        *testing.T
	target   string
	address  string
	attempts atomic.Int64

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

// newRelay listens for a server, and returns the URL as the relay serves it.
func newRelay(t *testing.T, server string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, target: u.Host, address: "127.0.0.1:0", open: map[net.Conn]bool{}}
	r.resume()
	t.Cleanup(r.stop)
	u.Host = r.address
	return r, u.String()
}

// resume listens, at the same address as before.
func (r *relay) resume() {
	r.t.Helper()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.address = listener, listener.Addr().String()
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			r.attempts.Add(1)
			go r.pass(from)
		}
	}()
}

// stop breaks all connections and refuses new ones.
func (r *relay) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Close()
	for c := range r.open {
		c.Close()
	}
}

func (r *relay) pass(from net.Conn) {
	to, err := net.Dial("tcp", r.target)
	if err != nil {
		from.Close()
		return
	}
	r.mu.Lock()
	r.open[from], r.open[to] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // either side may hang up
			pair[0].Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, from)
	delete(r.open, to)
}
