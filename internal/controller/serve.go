package controller

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/webhook"
)

// status is what the HTTP server knows of the current term.
type status struct {
	mu      sync.Mutex
	loops   *loops
	manager manager.Manager
}

func (s *status) begin(l *loops, m manager.Manager) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops, s.manager = l, m
}

func (s *status) end() { s.begin(nil, nil) }

func (s *status) term() (*loops, manager.Manager) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops, s.manager
}

// serve starts the HTTP server; stop ends it.
func (c *Controller) serve(ctx context.Context) (stop func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", c.ready)
	mux.Handle("GET /metrics", c.observer.Metrics.Handler(ctrlmetrics.Registry))
	if c.Profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("POST /webhook", webhook.Handler(c.hooked, c.push))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, &mizzen.Error{
			Kind: mizzen.Conflict, Object: "address " + c.Listen, Err: err,
			Remedy: "another process listens there; name a free one with --listen",
		}
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("the HTTP server ended", "error", err)
		}
	}()
	c.Log.Info("listening", "address", listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}, nil
}

// ready answers 200 if the home API answers, whether this process leads or
// stands by.
func (c *Controller) ready(w http.ResponseWriter, r *http.Request) {
	_, mgr := c.status.term()
	if mgr == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Config.Host+"/readyz", nil)
	if err == nil {
		var response *http.Response
		if response, err = mgr.GetHTTPClient().Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = errors.New("it is not ready: " + response.Status)
			}
		}
	}
	if err != nil {
		http.Error(w, "the Kubernetes API does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// hooked returns the Repositories that a push may be about.
func (c *Controller) hooked(keys []string) []webhook.Target {
	if l, _ := c.status.term(); l != nil {
		return l.repositories.Targets(keys)
	}
	return nil
}

// push fetches a Repository now.
func (c *Controller) push(name mizzen.Name, _ webhook.Push) {
	if l, _ := c.status.term(); l != nil {
		l.repositories.Trigger(name)
	}
}
