package e2e

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"mizzen.dev/mizzen/internal/labtest"
)

// relay stands before a server, and counts how often it is asked. It can be
// away, and hangs up on everybody then; so it does while the server is.
type relay struct {
	target   string
	attempts atomic.Int64
	away     atomic.Bool

	mu   sync.Mutex
	open map[net.Conn]bool
}

// newRelay listens for a server, and returns the URL as the relay serves it.
func newRelay(t *testing.T, server string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{target: u.Host, open: map[net.Conn]bool{}}
	t.Cleanup(func() {
		listener.Close()
		r.stop()
	})
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
	u.Host = listener.Addr().String()
	return r, u.String()
}

// behindRelay returns the cluster as it is reached through a relay.
func behindRelay(t *testing.T, c labtest.Cluster) (*relay, labtest.Cluster) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var r *relay
	for _, cluster := range config.Clusters {
		r, cluster.Server = newRelay(t, cluster.Server)
	}
	c.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, c.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	return r, c
}

// stop breaks all connections and hangs up on new ones.
func (r *relay) stop() {
	r.away.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
}

func (r *relay) resume() { r.away.Store(false) }

func (r *relay) pass(from net.Conn) {
	if r.away.Load() {
		from.Close()
		return
	}
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
