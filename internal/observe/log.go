package observe

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// LogFormat is how log lines look.
type LogFormat string

// The formats of logs.
const (
	// LogAuto is text on a terminal and JSON elsewhere.
	LogAuto LogFormat = ""
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// NewLogger returns a logger that writes to w, and names the trace of a context
// that is logged with (slog's …Context methods).
func NewLogger(w io.Writer, format LogFormat, terminal bool, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if format == LogText || format == LogAuto && terminal {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(traced{handler})
}

// Adopt makes the Kubernetes libraries log through log, the whole process over.
// They are talkative: what they call information, and klog's warnings, which
// arrive as such, are logged as debugging; and what they complain about again
// and again, as during an outage, is logged once a minute.
func Adopt(log *slog.Logger) {
	quiet := slog.New(quieter{log.Handler(), &repeated{last: map[string]time.Time{}}})
	ctrllog.SetLogger(logr.FromSlogHandler(quiet.Handler()))
	klog.SetSlogLogger(quiet)
}

// traced adds the trace to a record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", c.TraceID().String()), slog.String("span_id", c.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// quieter lowers information to debugging, and leaves out warnings and errors
// that have just been logged.
type quieter struct {
	slog.Handler
	repeated *repeated
}

func lowered(l slog.Level) slog.Level {
	if l >= slog.LevelInfo && l < slog.LevelWarn {
		return slog.LevelDebug
	}
	return l
}

func (h quieter) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, lowered(l))
}

func (h quieter) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.Level = lowered(r.Level)
	if r.Level >= slog.LevelWarn && h.repeated.recent(r.Message, r.Time) && !h.Handler.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h quieter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieter{h.Handler.WithAttrs(attrs), h.repeated}
}

func (h quieter) WithGroup(name string) slog.Handler {
	return quieter{h.Handler.WithGroup(name), h.repeated}
}

// repeated knows when a message was last logged. Messages are constants of the
// libraries, so there are few.
type repeated struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const (
	// repeatAfter is when a message that was logged is news again.
	repeatAfter = time.Minute
	// maxMessages bounds those that are remembered.
	maxMessages = 1000
)

// recent tells whether a message was logged less than repeatAfter ago, and
// remembers it if not.
func (m *repeated) recent(message string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.last[message]; ok && now.Sub(last) < repeatAfter {
		return true
	}
	if len(m.last) >= maxMessages {
		clear(m.last)
	}
	m.last[message] = now
	return false
}
