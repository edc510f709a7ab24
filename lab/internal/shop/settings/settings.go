// Package settings reads what a server of the shop is told by its environment:
// strings come in, checked Settings go out. Help documents all of them.
package settings

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Help documents the environment of a server.
const Help = `  PORT=8080            HTTP/1.1 and HTTP/2 in clear
  GRPC_PORT=9000       gRPC (shop.Shop/Call, grpc.health.v1); "off" for none
  APP, VERSION         who the server says it is (default shop, v1)
  LATENCY=50ms         time before an answer: 50ms, uniform(10ms,50ms), normal(50ms,10ms), exp(20ms), or
                       percentiles p50=10ms,p99=200ms (straight lines between them); at most 1m
  ERRORS=0.1:503       ratio from 0 to 1 of requests that fail, and with which status (default 500); they call nobody
  STARTUP_DELAY=5s     time from the start in which /healthz and all requests are answered by 503
  MEMORY=64Mi          memory to allocate and touch
  GRACE=2s             time from SIGTERM, when /healthz turns to 503, to the end of answers
  CALLS="http://a/ grpc://b:9000/"
                       URLs called for each request; one that fails makes the answer a 502
  CALLS_MODE=sequence  one after the other, or "parallel"
  TIMEOUT=5s           of each call
  SEED                 makes latencies and errors repeatable
`

const maxMemory = 1 << 40

// Settings are those of one server.
type Settings struct {
	// App and Version are who the server says it is.
	App, Version string
	// Port and GRPCPort are where it listens; GRPCPort 0 is for no gRPC.
	Port, GRPCPort int
	// Latency is the time before an answer.
	Latency Distribution
	// ErrorRatio, from 0 to 1, of requests fail with ErrorStatus.
	ErrorRatio  float64
	ErrorStatus int
	// StartupDelay is the time from the start until the server is ready.
	StartupDelay time.Duration
	// MemoryBytes are allocated and touched.
	MemoryBytes int64
	// Grace is the time from the wish to end until answers end.
	Grace time.Duration
	// Calls are called for each request, all at once if Parallel.
	Calls    []*url.URL
	Parallel bool
	// Timeout is that of each call.
	Timeout time.Duration
	// Seed starts the random numbers.
	Seed uint64
}

// Parse reads Settings from an environment, such as os.Getenv. The error
// names every variable that cannot be read.
func Parse(getenv func(string) string) (Settings, error) {
	s := Settings{Seed: rand.Uint64()}
	var errs []error
	// Each reads a value that is set, or the default.
	read := func(name, byDefault string, parse func(string) error) {
		value := strings.TrimSpace(getenv(name))
		if value == "" {
			value = byDefault
		}
		if value == "" {
			return
		}
		if err := parse(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	read("APP", "shop", into(&s.App, word))
	read("VERSION", "v1", into(&s.Version, word))
	read("PORT", "8080", into(&s.Port, port))
	read("GRPC_PORT", "9000", into(&s.GRPCPort, portOrOff))
	read("LATENCY", "", into(&s.Latency, ParseDistribution))
	read("ERRORS", "0", s.errors)
	read("STARTUP_DELAY", "0", into(&s.StartupDelay, ParseDuration))
	read("MEMORY", "0", into(&s.MemoryBytes, ParseBytes))
	read("GRACE", "2s", into(&s.Grace, ParseDuration))
	read("CALLS", "", into(&s.Calls, calls))
	read("CALLS_MODE", "sequence", into(&s.Parallel, mode))
	read("TIMEOUT", "5s", into(&s.Timeout, ParseDuration))
	read("SEED", "", into(&s.Seed, func(v string) (uint64, error) { return strconv.ParseUint(v, 10, 64) }))
	return s, errors.Join(errs...)
}

func into[T any](to *T, parse func(string) (T, error)) func(string) error {
	return func(value string) (err error) {
		*to, err = parse(value)
		return err
	}
}

// word accepts what can stand in a report and in a label.
func word(v string) (string, error) {
	const most = 63 // as in labels of Kubernetes
	if len(v) > most || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%.80q: want up to %d printable characters without spaces", v, most)
	}
	return v, nil
}

func port(v string) (int, error) {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q: want a port from 1 to 65535", v)
	}
	return int(n), nil
}

func portOrOff(v string) (int, error) {
	if v == "off" {
		return 0, nil
	}
	return port(v)
}

func (s *Settings) errors(v string) error {
	ratio, status, hasStatus := strings.Cut(v, ":")
	s.ErrorStatus = http.StatusInternalServerError
	var err error
	if s.ErrorRatio, err = strconv.ParseFloat(ratio, 64); err != nil || !(s.ErrorRatio >= 0 && s.ErrorRatio <= 1) {
		return fmt.Errorf("%q: want a ratio from 0 to 1", ratio)
	}
	if !hasStatus {
		return nil
	}
	if s.ErrorStatus, err = strconv.Atoi(status); err != nil || s.ErrorStatus < 400 || s.ErrorStatus > 599 {
		return fmt.Errorf("%q: want a status from 400 to 599", status)
	}
	return nil
}

// ParseBytes reads a number of bytes, such as 64Mi, in the notation of
// Kubernetes: powers of 1024 (Ki, Mi, Gi) or of 1000 (k, M, G).
func ParseBytes(v string) (int64, error) {
	number, unit := v, int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}} {
		if n, found := strings.CutSuffix(v, u.suffix); found {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if bytes := n * float64(unit); err == nil && !math.IsNaN(bytes) && bytes >= 0 && bytes <= maxMemory {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf("%q: want a number of bytes such as 64Mi, at most 1024Gi", v)
}

func calls(v string) ([]*url.URL, error) {
	var all []*url.URL
	fields := strings.Fields(v)
	for i, field := range fields {
		u, err := ParseURL(field)
		if err != nil {
			return nil, err
		}
		if slices.Contains(fields[:i], field) {
			return nil, fmt.Errorf("%s is there twice", field)
		}
		all = append(all, u)
	}
	return all, nil
}

// ParseURL reads a URL that a server can call: http, https or grpc, the last
// with a port.
func ParseURL(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	if err != nil {
		return nil, fmt.Errorf("%.200q is no URL", v)
	}
	known := slices.Contains([]string{"http", "https", "grpc"}, u.Scheme)
	if !known || u.Hostname() == "" || u.User != nil || u.Scheme == "grpc" && u.Port() == "" {
		return nil, fmt.Errorf("%.200q: want http://HOST/, https://HOST/ or grpc://HOST:PORT/", v)
	}
	return u, nil
}

func mode(v string) (parallel bool, err error) {
	switch v {
	case "sequence":
		return false, nil
	case "parallel":
		return true, nil
	}
	return false, fmt.Errorf("%q: want sequence or parallel", v)
}
