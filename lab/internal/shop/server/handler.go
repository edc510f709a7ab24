package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"mizzen.dev/mizzen/lab/internal/shop"
)

// statusClientGone is what nobody reads: the client has left. nginx and Envoy
// log it so.
const statusClientGone = 499

// handler serves the tree of calls at every path but a few.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.serveShop)
	mux.HandleFunc("/healthz", s.serveHealth)
	mux.Handle("/metrics", s.metrics.handler())
	mux.HandleFunc("/get", s.serveGet)
	mux.HandleFunc("/headers", serveHeaders)
	mux.HandleFunc("/status/{code}", serveStatus)
	mux.HandleFunc("/delay", serveDelay)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, shop.MaxBody)
		if s.phase.Load() == draining {
			// The client opens its next connection to somebody who stays. A
			// connection that is closed while it is idle may have a request on it.
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) serveShop(w http.ResponseWriter, r *http.Request) {
	reply := s.answer(r.Context(), "http", question{path: r.URL.Path, from: r.RemoteAddr, header: r.Header})
	writeJSON(w, reply.Status, reply)
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // fails if the client has left
}

// question is what a request asks, by whatever protocol.
type question struct {
	path, from string
	header     http.Header
}

// answer takes the time and makes the calls that the settings want.
func (s *Server) answer(ctx context.Context, protocol string, q question) *shop.Reply {
	start := time.Now()
	r := &shop.Reply{
		Host: s.host, App: s.settings.App, Version: s.settings.Version, Status: http.StatusOK,
		From: q.from, XFCC: q.header.Get(xfccHeader), Path: q.path,
	}
	s.conduct(ctx, r, q.header)
	s.metrics.observe(protocol, r.Status, time.Since(start))
	return r
}

func (s *Server) conduct(ctx context.Context, r *shop.Reply, header http.Header) {
	if s.phase.Load() == starting {
		r.Status, r.Error = http.StatusServiceUnavailable, "starting: STARTUP_DELAY has not passed"
		return
	}
	latency, fails := s.draw()
	if err := wait(ctx, latency); err != nil {
		r.Status, r.Error = statusClientGone, err.Error()
		return
	}
	if fails {
		r.Status, r.Error = s.settings.ErrorStatus, "an error as ERRORS asks for"
		return
	}
	r.Calls = s.caller.all(ctx, shop.Carried(header))
	if failed := failures(r.Calls); failed != "" {
		r.Status, r.Error = http.StatusBadGateway, failed
	}
}

// failures names the calls that failed, in the same order each time.
func failures(calls map[string]*shop.Reply) string {
	var failed []string
	for u, c := range calls {
		if c.Failed() {
			failed = append(failed, fmt.Sprintf("%s answered %d", u, c.Status))
		}
	}
	slices.Sort(failed)
	return strings.Join(failed, ", ")
}

// wait waits for d, or returns why the context is done.
func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
