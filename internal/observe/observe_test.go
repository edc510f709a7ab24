package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"mizzen.dev/mizzen"
)

var web = mizzen.Name{Namespace: "shop", Name: "web"}

// clock moves by a second whenever it is read.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

// backend is a collector that keeps the spans that it is sent.
type backend struct {
	*httptest.Server
	mu      sync.Mutex
	service string
	spans   map[string]*v1.Span
}

func newBackend(t *testing.T) *backend {
	b := &backend{spans: map[string]*v1.Span{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Tenant") != "shop" {
			t.Errorf("%s %s: %v, %v", r.Method, r.URL, r.Header, err)
		}
		b.take(&request)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) take(request *collector.ExportTraceServiceRequest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rs := range request.GetResourceSpans() {
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				b.service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				b.spans[s.GetName()] = s
			}
		}
	}
}

// A collector receives a sync as one trace whose spans are the stages.
func TestSyncIsOneTrace(t *testing.T) {
	b := newBackend(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", b.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Tenant=shop")
	t.Setenv("OTEL_SERVICE_NAME", "mizzen-east")
	traces, err := StartTraces(context.Background(), "v0.1.0", slog.New(slog.DiscardHandler))
	if err != nil || traces == nil {
		t.Fatalf("traces %v, error %v", traces, err)
	}
	o := &Observer{Traces: traces, Metrics: NewMetrics(time.Now)}

	ctx, end := o.Sync(context.Background(), web, "0d1a26e6")
	id := TraceID(ctx)
	for _, stage := range []Stage{Source, Render, Lint, Diff} {
		_, done := Span(ctx, stage)
		done(nil)
	}
	actx, done := Span(ctx, Apply)
	_, inner := Span(actx, Health)
	inner(nil)
	secret := &mizzen.Error{Kind: mizzen.Conflict, Err: errors.New("password hunter2 is immutable")}
	done(secret)
	end(secret)
	if err := traces.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	root := b.spans["sync"]
	if root == nil || b.service != "mizzen-east" {
		t.Fatalf("service %q, spans %v", b.service, b.spans)
	}
	parents := map[string]*v1.Span{"source": root, "render": root, "lint": root, "diff": root, "apply": root, "health": b.spans["apply"]}
	for name, parent := range parents {
		s := b.spans[name]
		if s == nil || !bytes.Equal(s.GetParentSpanId(), parent.GetSpanId()) || !bytes.Equal(s.GetTraceId(), root.GetTraceId()) {
			t.Errorf("span %s is %v", name, s)
		}
	}
	if len(id) != 32 || len(b.spans) != 7 || len(root.GetParentSpanId()) != 0 {
		t.Errorf("trace %q, spans %v", id, b.spans)
	}
	attributes := map[string]string{}
	for _, a := range root.GetAttributes() {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
	}
	want := map[string]string{
		"mizzen.application.namespace": "shop", "mizzen.application.name": "web", "mizzen.revision": "0d1a26e6", "error.type": "Conflict",
	}
	if diff := cmp.Diff(want, attributes); diff != "" {
		t.Errorf("attributes (-want +got)\n%s", diff)
	}
	if root.GetStatus().GetCode() != v1.Status_STATUS_CODE_ERROR || strings.Contains(root.String(), "hunter2") {
		t.Errorf("status %v", root.GetStatus())
	}
}

func TestTracingIsOffUnlessAskedFor(t *testing.T) {
	const endpoint = "http://127.0.0.1:1"
	cases := []struct {
		name string
		env  map[string]string
		want bool
	}{
		{"nothing", nil, false},
		{"endpoint", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, true},
		{"endpoint of traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}, true},
		{"disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "TRUE"}, false},
		{"no exporter", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "none"}, false},
	}
	for _, c := range cases {
		if got := tracingWanted(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Without a collector, without metrics and outside of a sync everything still
// works.
func TestObservingNothing(t *testing.T) {
	var none Observer
	ctx, end := none.Sync(context.Background(), web, "")
	_, done := Span(ctx, Render)
	done(nil)
	end(errors.New("failed"))
	if id := TraceID(ctx); id != "" {
		t.Errorf("trace id %q without a trace", id)
	}
	ctx, done = Span(context.Background(), Render)
	done(nil)
	if ctx != context.Background() {
		t.Error("a span outside of a sync made a context")
	}
	if err := (*Traces)(nil).Stop(context.Background()); err != nil {
		t.Error(err)
	}
	var m *Metrics
	m.Changed(mizzen.Counts{Created: 1})
	m.Rendered(time.Second, nil)
	m.RenderKept()
	m.Restored(time.Second)
	m.SetApplication(Application{Name: web})
	m.ForgetApplication(web)
}

// scrape returns the lines of metrics that begin with mizzen_, without buckets.
func scrape(t *testing.T, m *Metrics, further ...prometheus.Gatherer) map[string]bool {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(further...).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket{") {
			lines[line] = true
		}
	}
	return lines
}

func TestMetrics(t *testing.T) {
	c := newClock()
	m := NewMetrics(func() time.Time { return c.now })
	o := &Observer{Metrics: m, Now: c.Now}
	ctx, end := o.Sync(context.Background(), web, "r")
	_, done := Span(ctx, Render)
	done(nil)
	end(nil)
	_, end = o.Sync(context.Background(), web, "r")
	end(errors.New("failed"))
	m.Changed(mizzen.Counts{Created: 3, Updated: 2})
	m.Rendered(2*time.Second, nil)
	m.Rendered(time.Second, errors.New("failed"))
	m.RenderKept()
	m.Restored(30 * time.Millisecond)
	m.SetApplication(Application{
		Name: web, Repository: "shop", Health: "Degraded", BehindSince: c.now.Add(-90 * time.Second),
		Conditions: map[string]string{"Ready": "False", "Synced": "True"},
	})
	got := scrape(t, m)
	for _, want := range []string{
		`mizzen_sync_total{result="succeeded"} 1`,
		`mizzen_sync_total{result="failed"} 1`,
		`mizzen_sync_duration_seconds_count{stage="sync"} 2`,
		`mizzen_sync_duration_seconds_sum{stage="sync"} 4`,
		`mizzen_sync_duration_seconds_sum{stage="render"} 1`,
		`mizzen_diff_changes_total{action="create"} 3`,
		`mizzen_diff_changes_total{action="update"} 2`,
		`mizzen_diff_changes_total{action="delete"} 0`,
		`mizzen_renders_total{result="succeeded"} 1`,
		`mizzen_renders_total{result="failed"} 1`,
		`mizzen_renders_total{result="kept"} 1`,
		`mizzen_render_duration_seconds_sum 3`,
		`mizzen_drift_restored_total 1`,
		`mizzen_drift_restore_seconds_sum 0.03`,
		`mizzen_source_lag_seconds{application="web",namespace="shop"} 90`,
		`mizzen_application_info{application="web",cluster="",health="Degraded",namespace="shop",repository="shop"} 1`,
		`mizzen_application_condition{application="web",condition="Ready",namespace="shop",status="False"} 1`,
		`mizzen_application_condition{application="web",condition="Synced",namespace="shop",status="True"} 1`,
	} {
		if !got[want] {
			t.Errorf("no line %s in %v", want, got)
		}
	}

	// A state that has passed leaves no series behind, nor does an Application.
	m.SetApplication(Application{Name: web, Repository: "shop", Health: "Healthy", Conditions: map[string]string{"Ready": "True"}})
	got = scrape(t, m)
	if got[`mizzen_application_condition{application="web",condition="Ready",namespace="shop",status="False"} 1`] ||
		!got[`mizzen_source_lag_seconds{application="web",namespace="shop"} 0`] {
		t.Errorf("stale series in %v", got)
	}
	m.ForgetApplication(web)
	for line := range scrape(t, m) {
		if strings.Contains(line, `"web"`) {
			t.Errorf("%s is left behind", line)
		}
	}
}

func TestHandlerServesFurtherRegistries(t *testing.T) {
	further := prometheus.NewRegistry()
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "other_total"})
	further.MustRegister(other)
	if got := scrape(t, NewMetrics(time.Now), further); !got["other_total 0"] {
		t.Errorf("the other registry is missing from %v", got)
	}
}

func TestLoggerFormats(t *testing.T) {
	for _, c := range []struct {
		format   LogFormat
		terminal bool
		json     bool
	}{{LogAuto, true, false}, {LogAuto, false, true}, {LogText, false, false}, {LogJSON, true, true}} {
		var out bytes.Buffer
		NewLogger(&out, c.format, c.terminal, slog.LevelInfo).Info("hello", "n", 1)
		if json.Valid(out.Bytes()) != c.json {
			t.Errorf("%+v: %s", c, &out)
		}
	}
}

func TestLogNamesTheTrace(t *testing.T) {
	b := newBackend(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", b.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Tenant=shop")
	traces, err := StartTraces(context.Background(), "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := NewLogger(&out, LogJSON, false, slog.LevelInfo).With("app", "web").WithGroup("g")
	ctx, end := (&Observer{Traces: traces}).Sync(context.Background(), web, "r")
	log.InfoContext(ctx, "syncing")
	end(nil)
	if !strings.Contains(out.String(), TraceID(ctx)) {
		t.Errorf("no trace in %s", &out)
	}
	if err := traces.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// The Kubernetes libraries log through ours, their chatter as debugging.
func TestAdopt(t *testing.T) {
	var out bytes.Buffer
	level := &slog.LevelVar{}
	Adopt(NewLogger(&out, LogJSON, false, level))
	t.Cleanup(klog.ClearLogger)
	ctrllog.Log.WithName("manager").WithValues("kind", "Application").Info("chatter")
	klog.Info("chatter")
	if out.Len() > 0 {
		t.Errorf("information is not lowered: %s", &out)
	}
	ctrllog.Log.Error(errors.New("boom"), "broken")
	klog.Error("careful")
	for _, want := range []string{`"level":"ERROR"`, `"boom"`, `"careful"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, &out)
		}
	}
	out.Reset()
	ctrllog.Log.WithValues("kind", "Application").Error(errors.New("bang"), "broken")
	if out.Len() > 0 {
		t.Errorf("a complaint is repeated: %s", &out)
	}
	level.Set(slog.LevelDebug)
	ctrllog.Log.Info("chatter", "n", 1)
	if !strings.Contains(out.String(), `"level":"DEBUG"`) || !strings.Contains(out.String(), "chatter") {
		t.Errorf("debugging shows %s", &out)
	}
}

func BenchmarkSpan(b *testing.B) {
	ctx, end := (&Observer{Metrics: NewMetrics(time.Now)}).Sync(context.Background(), web, "r")
	defer end(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, done := Span(ctx, Render)
		done(nil)
	}
}
