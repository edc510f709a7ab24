// Package server is the demo's server, whose conduct is all in its Settings: it
// answers every HTTP path, and one gRPC method, with a shop.Reply, after a
// random latency and after calling whom it is told to call. Listeners come in;
// Run returns when the server has drained.
package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

const (
	maxHeader = 64 << 10
	// drainTimeout bounds the wait for requests that are under way after the
	// grace period.
	drainTimeout = 10 * time.Second
)

// The phases of a server's life.
const (
	starting int32 = iota
	ready
	draining
)

// Server is one server of the shop.
type Server struct {
	settings settings.Settings
	host     string
	phase    atomic.Int32
	caller   *caller
	metrics  *metrics
	health   *health.Server
	memory   []byte

	mu     sync.Mutex
	random *rand.Rand
}

// New returns a server that does not listen yet.
func New(s settings.Settings) (*Server, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	c, err := newCaller(s)
	if err != nil {
		return nil, err
	}
	srv := &Server{
		settings: s, host: host, caller: c, health: health.NewServer(),
		random: rand.New(rand.NewPCG(s.Seed, s.Seed)),
	}
	srv.metrics = newMetrics(srv)
	srv.setServing(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	return srv, nil
}

func (s *Server) setServing(to grpc_health_v1.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", to)
	s.health.SetServingStatus(serviceName, to)
}

// Run serves on both listeners, the second of which may be nil, until ctx is
// done; then it says that it is not ready, goes on for the grace period, and
// ends when the requests that are under way have their answers.
func (s *Server) Run(ctx context.Context, web, rpc net.Listener) error {
	defer s.caller.close()
	s.touchMemory()
	h, g := s.httpServer(), s.grpcServer()
	failed := make(chan error, 2)
	go func() { failed <- h.Serve(web) }()
	if rpc != nil {
		go func() { failed <- g.Serve(rpc) }()
	}
	log.Printf("%s %s serves HTTP on %s, gRPC on %s", s.settings.App, s.settings.Version, hostname(web), hostname(rpc))
	err := s.live(ctx, failed)
	return errors.Join(err, shutdown(h, g))
}

// live waits through the phases and returns early if a server fails.
func (s *Server) live(ctx context.Context, failed <-chan error) error {
	startup := time.NewTimer(s.settings.StartupDelay)
	defer startup.Stop()
	for s.phase.Load() != draining {
		select {
		case <-startup.C:
			s.phase.Store(ready)
			s.setServing(grpc_health_v1.HealthCheckResponse_SERVING)
			log.Print("ready")
		case <-ctx.Done():
			s.phase.Store(draining)
			s.health.Shutdown()
			log.Printf("draining for %s", s.settings.Grace)
		case err := <-failed:
			return err
		}
	}
	select {
	case <-time.After(s.settings.Grace):
		return nil
	case err := <-failed:
		return err
	}
}

func (s *Server) httpServer() *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: s.handler(), Protocols: protocols, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: 10 * time.Second,
		// It also ends the context of a request, so it is longer than an answer
		// can take: the latency or /delay, and every call.
		ReadTimeout: 2*settings.MaxDuration + time.Duration(len(s.settings.Calls))*s.settings.Timeout,
		// Longer than the hour after which Envoy closes a connection that it
		// does not use: who closes first makes the other's request fail.
		IdleTimeout: 2 * time.Hour,
	}
}

func (s *Server) grpcServer() *grpc.Server {
	const streams = 1000
	g := grpc.NewServer(grpc.MaxHeaderListSize(maxHeader), grpc.MaxRecvMsgSize(maxHeader), grpc.MaxConcurrentStreams(streams))
	s.register(g)
	grpc_health_v1.RegisterHealthServer(g, s.health)
	return g
}

func shutdown(h *http.Server, g *grpc.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(g.GracefulStop)
	err := h.Shutdown(ctx)
	wg.Wait()
	if err != nil {
		return errors.Join(fmt.Errorf("requests are still under way after %s: %w", drainTimeout, err), h.Close())
	}
	return nil
}

// touchMemory makes the process as large as it is told to be: memory that was
// never written to is not there.
func (s *Server) touchMemory() {
	s.memory = make([]byte, s.settings.MemoryBytes)
	for i := 0; i < len(s.memory); i += os.Getpagesize() {
		s.memory[i] = 1
	}
}

// draw decides about one request.
func (s *Server) draw() (latency time.Duration, fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings.Latency.Sample(s.random), s.random.Float64() < s.settings.ErrorRatio
}
