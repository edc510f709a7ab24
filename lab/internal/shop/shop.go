// Package shop is the vocabulary of the demo's server and of the load that is
// put on it: what a server answers, which headers it hands on, and how a call
// that got no answer is named. Pure types, no I/O.
package shop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// StatusNoAnswer is the status of a call that got no HTTP answer at all: no
// server and no proxy sends it.
const StatusNoAnswer = 599

// MaxBody is the most that is read of a request's or an answer's body.
const MaxBody = 1 << 20

// MaxDepth is how deep a tree of calls is followed.
const MaxDepth = 16

// Reply is what a server says of itself and of those that it called.
type Reply struct {
	// Host is the name of the pod.
	Host string `json:"host"`
	// App and Version say who answered; both are empty if it was no shop.
	App     string `json:"app"`
	Version string `json:"version"`
	// Status is the HTTP status of the answer, or StatusNoAnswer.
	Status int `json:"status"`
	// From is the peer's address as the server saw it.
	From string `json:"from"`
	// XFCC is the caller's identity as the server's sidecar saw it (Envoy's
	// x-forwarded-client-cert).
	XFCC string `json:"xfcc,omitempty"`
	// Path is what was asked for.
	Path string `json:"path"`
	// Error says why Status is not 200.
	Error string `json:"error,omitempty"`
	// Calls are the answers of those that were called, by URL.
	Calls map[string]*Reply `json:"calls,omitempty"`
}

// Failed reports whether the status is that of a failure: 400 or more.
func (r *Reply) Failed() bool { return r.Status >= http.StatusBadRequest }

// Walk calls visit for the reply and for all below it, with the URL by which
// each was called: "" for the first.
func (r *Reply) Walk(visit func(url string, r *Reply)) { r.walk("", 0, visit) }

func (r *Reply) walk(url string, depth int, visit func(string, *Reply)) {
	if r == nil || depth > MaxDepth {
		return
	}
	visit(url, r)
	for u, c := range r.Calls {
		c.walk(u, depth+1, visit)
	}
}

// carried are the headers that a server hands on from the request that it
// answers to those that it makes, beside all that start with x-b3-: those of
// traces (https://istio.io/latest/docs/tasks/observability/distributed-tracing/overview/),
// and the user by whom Istio's bookinfo routes.
var carried = []string{
	"X-Request-Id", "Traceparent", "Tracestate", "B3", "Baggage", "X-Ot-Span-Context", "End-User",
}

// Carried returns the headers of h that are handed on.
func Carried(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range carried {
		if v := h.Values(name); len(v) > 0 {
			out[http.CanonicalHeaderKey(name)] = v
		}
	}
	for name, v := range h {
		if strings.HasPrefix(name, "X-B3-") {
			out[name] = v
		}
	}
	return out
}

// Class names the way in which a request got no answer, in a few words of a
// fixed set, so that failures can be counted by it.
func Class(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dns) && !dns.IsTimeout:
		return "no such host"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	}
	return "malformed answer"
}
