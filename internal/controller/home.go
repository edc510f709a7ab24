package controller

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
)

// home is whether the API that holds the Applications answers. Many notice
// when it does not; it is said once.
type home struct {
	log   *slog.Logger
	clock clock.PassiveClock

	mu    sync.Mutex
	away  error
	since time.Time
}

// note takes the outcome of a request. Errors that say nothing about the API
// leave things as they are.
func (h *home) note(err error) {
	switch {
	case answered(err):
		err = nil
	case !unanswered(err):
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.away == nil && err != nil:
		h.since = h.clock.Now()
		h.log.Warn("the cluster that holds the Applications does not answer; trying on", "error", err)
	case h.away != nil && err == nil:
		h.log.Info("the cluster that holds the Applications answers again", "after", h.clock.Since(h.since).Round(time.Second))
	}
	h.away = err
}

// quietly is a log for the libraries: what they say about an API that does not
// answer is for debugging, since home says it.
type quietly struct{ slog.Handler }

// Handle lowers a record that carries such an error.
func (h quietly) Handle(ctx context.Context, r slog.Record) error {
	away := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		away = away || ok && (unanswered(err) || errors.Is(err, context.Canceled))
		return !away
	})
	if away {
		if !h.Enabled(ctx, slog.LevelDebug) {
			return nil
		}
		r = r.Clone()
		r.Level = slog.LevelDebug
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h quietly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietly{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h quietly) WithGroup(name string) slog.Handler { return quietly{h.Handler.WithGroup(name)} }

// answered tells whether an error is an answer of an API server that works.
func answered(err error) bool {
	var status apierrors.APIStatus
	return err == nil || errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError
}

// unanswered tells whether an error means that no API server that works was
// reached. An error that is neither came up before or after the request.
func unanswered(err error) bool {
	var status apierrors.APIStatus
	var request *url.Error
	var network net.Error
	switch kind := mizzen.KindOf(err); {
	case err == nil || errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &status):
		return status.Status().Code >= http.StatusInternalServerError
	default:
		return kind == mizzen.Unreachable || kind == mizzen.Timeout || errors.As(err, &request) || errors.As(err, &network)
	}
}
