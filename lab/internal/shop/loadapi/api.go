// Package loadapi controls one load over HTTP: POST /start with a load.Config
// (or nothing, for the configuration of the environment), POST /stop, GET
// /report as JSON or text, GET /metrics. One load runs at a time; its report
// stays until the next one starts.
package loadapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"mizzen.dev/mizzen/lab/internal/shop/load"
)

const maxConfig = 64 << 10

// API is the control of one load.
type API struct {
	byDefault *load.Config

	mu  sync.Mutex
	run *load.Run
}

// New returns an API; byDefault is what a start without a body sends, or nil.
func New(byDefault *load.Config) *API { return &API{byDefault: byDefault} }

// Handler serves the API.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /start", a.start)
	mux.HandleFunc("POST /stop", a.stop)
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, r *http.Request) { write(w, r, http.StatusOK, a.Report()) })
	mux.Handle("GET /metrics", a.metrics())
	// The API is within reach of the host's browsers by a relay: no page may
	// start a load.
	return http.NewCrossOriginProtection().Handler(mux)
}

// Report is that of the load that runs, or ran last.
func (a *API) Report() load.Report {
	if run := a.current(); run != nil {
		return run.Report()
	}
	return load.Report{APIVersion: load.APIVersion, State: load.Idle, Targets: []load.TargetReport{}}
}

// Close ends the load.
func (a *API) Close() {
	if run := a.current(); run != nil {
		run.Stop()
	}
}

func (a *API) current() *load.Run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.run
}

func (a *API) start(w http.ResponseWriter, r *http.Request) {
	c, err := a.config(http.MaxBytesReader(w, r.Body, maxConfig))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil && running(a.run) {
		http.Error(w, "a load runs already: stop it first", http.StatusConflict)
		return
	}
	run, err := load.Start(c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.run = run
	write(w, r, http.StatusAccepted, run.Report())
}

func running(r *load.Run) bool {
	select {
	case <-r.Done():
		return false
	default:
		return true
	}
}

func (a *API) config(body io.Reader) (load.Config, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return load.Config{}, fmt.Errorf("configuration: %w", err)
	}
	if len(bytes.TrimSpace(data)) > 0 {
		return load.ParseConfig(data)
	}
	if a.byDefault == nil {
		return load.Config{}, fmt.Errorf("no configuration: send one, or set TARGETS in the environment")
	}
	return *a.byDefault, nil
}

// stop answers with the final report; there is nothing wrong with a load that
// has ended already.
func (a *API) stop(w http.ResponseWriter, r *http.Request) {
	a.Close()
	write(w, r, http.StatusOK, a.Report())
}

// write sends the report as ?format= says, or else as Accept does, or else as
// JSON.
func write(w http.ResponseWriter, r *http.Request, status int, report load.Report) {
	format := r.URL.Query().Get("format")
	if format == "" && strings.HasPrefix(r.Header.Get("Accept"), "text/") {
		format = "text"
	}
	switch format {
	case "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_ = report.Text(w) // fails if the client has left
	case "json", "":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(report) // fails if the client has left
	default:
		http.Error(w, "format: want text or json", http.StatusBadRequest)
	}
}

// Server returns an HTTP server for the API.
func (a *API) Server() *http.Server {
	const slowest = 2 * time.Minute // a stop waits for answers that are due
	return &http.Server{
		Handler: a.Handler(), MaxHeaderBytes: maxConfig,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: slowest, WriteTimeout: slowest,
	}
}
