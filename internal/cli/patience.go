package cli

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// firstAnswer is how long a cluster may take for the first answer of all.
const firstAnswer = 8 * time.Second

// patient bounds the wait for the first answer of a server. Once it has given
// one, it may take its time: watches and large lists do.
func patient(limit time.Duration) func(http.RoundTripper) http.RoundTripper {
	until, answered := new(atomic.Pointer[time.Time]), new(atomic.Bool)
	return func(next http.RoundTripper) http.RoundTripper {
		return &firstTrip{next: next, limit: limit, until: until, answered: answered}
	}
}

type firstTrip struct {
	next  http.RoundTripper
	limit time.Duration
	// until is when patience ends; it is shared by all requests, so that a
	// second one does not start over.
	until    *atomic.Pointer[time.Time]
	answered *atomic.Bool
}

// noAnswer is the error of a server that did not answer at all.
type noAnswer struct{ limit time.Duration }

func (e noAnswer) Error() string { return fmt.Sprintf("no answer within %s", e.limit) }

// Timeout and Temporary make it a net.Error.
func (noAnswer) Timeout() bool   { return true }
func (noAnswer) Temporary() bool { return true }

// RoundTrip sends a request.
func (t *firstTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.answered.Load() {
		return t.next.RoundTrip(r)
	}
	end := time.Now().Add(t.limit)
	if !t.until.CompareAndSwap(nil, &end) {
		end = *t.until.Load()
	}
	// The context must live for as long as the body is read, so it ends with
	// the request's own unless time runs out first.
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(time.Until(end), func() { cancel(noAnswer{t.limit}) })
	response, err := t.next.RoundTrip(r.WithContext(ctx))
	if !timer.Stop() && err != nil && r.Context().Err() == nil {
		return nil, noAnswer{t.limit}
	}
	if err == nil {
		t.answered.Store(true)
	}
	return response, err
}
