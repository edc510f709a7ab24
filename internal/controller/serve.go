package controller

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/webhook"
)

// status is what the HTTP server knows of the loops.
type status struct {
	mu sync.Mutex
	// loops are those of the term; nil without one.
	loops *loops
	// standing tells that another process leads.
	standing bool
}

func (s *status) begin(l *loops) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops = l
}

func (s *status) end() { s.begin(nil) }

func (s *status) standBy(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing = on
}

func (s *status) term() (l *loops, standing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops, s.standing
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
	mux.Handle("POST /webhook", c.atLeader(webhook.Handler(c.hooked, c.push)))
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

// ready answers 200 if the home API answers, and this process leads or stands
// by while another one does.
func (c *Controller) ready(w http.ResponseWriter, r *http.Request) {
	if err := c.askHome(r.Context()); err != nil {
		http.Error(w, "the Kubernetes API does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	if leading, standing := c.status.term(); leading == nil && !standing {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// askHome asks the home API whether it is ready.
func (c *Controller) askHome(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Config.Host, "/")+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("it is not ready: " + response.Status)
	}
	return nil
}

// atLeader refuses what only the leader can do, so that the sender tries again.
func (c *Controller) atLeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if leading, _ := c.status.term(); leading == nil {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "this process does not lead", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
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
