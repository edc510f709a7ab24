package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"

	"mizzen.dev/mizzen"
)

var refused = &url.Error{Op: "Get", URL: "https://a", Err: errors.New("connection refused")}

func TestUnanswered(t *testing.T) {
	resource := schema.GroupResource{Resource: "leases"}
	for _, c := range []struct {
		err                  error
		answered, unanswered bool
	}{
		{nil, true, false},
		{apierrors.NewNotFound(resource, "a"), true, false},
		{fmt.Errorf("configmap a: %w", apierrors.NewForbidden(resource, "a", nil)), true, false},
		{apierrors.NewServiceUnavailable("starting"), false, true},
		{fmt.Errorf("client: %w", refused), false, true},
		{context.DeadlineExceeded, false, true},
		{&mizzen.Error{Kind: mizzen.Unreachable, Err: io.EOF}, false, true},
		// These say nothing about the API.
		{context.Canceled, false, false},
		{&url.Error{Op: "Get", URL: "https://a", Err: context.Canceled}, false, false},
		{errLost, false, false},
		{io.EOF, false, false},
	} {
		if got := answered(c.err); got != c.answered {
			t.Errorf("answered(%v) = %v", c.err, got)
		}
		if got := unanswered(c.err); got != c.unanswered {
			t.Errorf("unanswered(%v) = %v", c.err, got)
		}
	}
}

// An outage is said once, and its end too.
func TestHome(t *testing.T) {
	var out bytes.Buffer
	clock := testingclock.NewFakePassiveClock(time.Now())
	h := &home{log: slog.New(slog.NewTextHandler(&out, nil)), clock: clock}
	h.note(nil)
	for range 10 {
		h.note(refused)
		h.note(context.Canceled)
	}
	if n := strings.Count(out.String(), "does not answer"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &out)
	}
	clock.SetTime(clock.Now().Add(30 * time.Second))
	h.note(apierrors.NewConflict(schema.GroupResource{}, "a", nil))
	h.note(nil)
	if n := strings.Count(out.String(), "answers again\" after=30s"); n != 1 {
		t.Errorf("the end is said %d times:\n%s", n, &out)
	}
}

// What libraries say about an outage is for debugging; the rest is as it was.
func TestQuietly(t *testing.T) {
	var out bytes.Buffer
	level := &slog.LevelVar{}
	log := slog.New(quietly{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})}).With("a", "b")
	log.Error("failed", "err", refused)
	if out.Len() > 0 {
		t.Errorf("it says %s", &out)
	}
	log.Error("failed", "err", io.EOF)
	if !strings.Contains(out.String(), "level=ERROR") {
		t.Errorf("it says %s", &out)
	}
	out.Reset()
	level.Set(slog.LevelDebug)
	log.Error("failed", "err", refused)
	if !strings.Contains(out.String(), "level=DEBUG") {
		t.Errorf("it says %s", &out)
	}
}
