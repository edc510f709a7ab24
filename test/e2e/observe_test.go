package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// spans is an OTLP collector that keeps what it is sent, by trace.
type spans struct {
	*httptest.Server
	mu  sync.Mutex
	all map[string][]*v1.Span
}

func collect(t *testing.T) *spans {
	c := &spans{all: map[string][]*v1.Span{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					id := hex.EncodeToString(s.GetTraceId())
					c.all[id] = append(c.all[id], s)
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// trace returns the names of the spans of a trace, sorted, each after its
// ancestors.
func (c *spans) trace(id string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	byID := map[string]*v1.Span{}
	for _, s := range c.all[id] {
		byID[string(s.GetSpanId())] = s
	}
	var paths []string
	for _, s := range c.all[id] {
		path := s.GetName()
		for parent := byID[string(s.GetParentSpanId())]; parent != nil; parent = byID[string(parent.GetParentSpanId())] {
			path = parent.GetName() + "/" + path
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// traces counts those that hold a span of a name.
func (c *spans) traces(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, all := range c.all {
		if slices.ContainsFunc(all, func(s *v1.Span) bool { return s.GetName() == name }) {
			n++
		}
	}
	return n
}

// A sync is one trace, whose spans are the stages, and whose id is in the
// history.
func TestTrace(t *testing.T) {
	t.Parallel()
	c := collect(t)
	s := newStage(t, 0)
	s.publish(map[string]string{"app/web.yaml": deployment("web", 1)})
	p := launch(t, s.lab, s.state, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	s.app("app", "app")
	s.until("app", "Ready", metav1.ConditionTrue, "")
	commit := s.push("Scale", map[string]string{"app/web.yaml": deployment("web", 2)})
	app := s.syncedAt("app", commit)
	p.stop() // which sends what is left
	if len(app.Status.History) != 2 {
		t.Fatalf("history: %v", app.Status.History)
	}
	want := []string{"sync", "sync/apply", "sync/diff", "sync/health", "sync/lint", "sync/render"}
	for _, record := range app.Status.History {
		if diff := cmp.Diff(want, c.trace(record.Trace)); diff != "" {
			t.Errorf("trace %q of %.8s (-want +got):\n%s", record.Trace, record.Revision, diff)
		}
	}
	if n := c.traces("apply"); n != 2 {
		t.Errorf("%d traces of two syncs", n)
	}
}

func deployment(name string, replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: %[1]s, image: lab/shop:v1}]}
`, name, replicas)
}

const (
	// steadyApplications are those of the steady state.
	steadyApplications = 50
	// steadyFor is how long nothing changes.
	steadyFor = 30 * time.Second
)

// While nothing changes, 50 Applications cost no rendering and no request but
// those of watches and of the lease. The metrics say so too.
func TestSteadyState(t *testing.T) {
	t.Parallel()
	s := newStage(t, 0)
	files := map[string]string{}
	for i := range steadyApplications {
		files[fmt.Sprintf("app-%02d/cm.yaml", i)] = configMap(fmt.Sprintf("cm-%02d", i), "1")
	}
	files["app-00/web.yaml"] = deployment("web", 1)
	s.publish(files)
	p := launch(t, s.lab, s.state).ready()
	for i := range steadyApplications {
		s.app(fmt.Sprintf("app-%02d", i), fmt.Sprintf("app-%02d", i))
	}
	for i := range steadyApplications {
		s.until(fmt.Sprintf("app-%02d", i), "Ready", metav1.ConditionTrue, "")
	}
	s.announced(steadyApplications)

	audit, renders, cpu := s.lab.Audit(t), p.metric(`mizzen_renders_total{result="succeeded"}`), p.cpu()
	time.Sleep(steadyFor)
	cpu = p.cpu() - cpu
	renewals := 0
	for _, r := range audit.Requests(t) {
		switch {
		case !strings.HasPrefix(r.UserAgent, agent) || r.Verb == "watch":
		case r.Resource == "leases":
			renewals++
		default:
			t.Errorf("%s %s %s", r.Verb, r.URI, r.UserAgent)
		}
	}
	t.Logf("in %s: %d requests for the lease, %s of processor time", steadyFor, renewals, cpu)
	if again := p.metric(`mizzen_renders_total{result="succeeded"}`) - renders; again != 0 {
		t.Errorf("%v renders", again)
	}
	if renders != steadyApplications {
		t.Errorf("%v renders of %d Applications", renders, steadyApplications)
	}
	s.metrics(p)
}

// announced waits until the Event of the only commit tells of so many
// Applications, or is written a second time because some came later: a third
// time is not written.
func (s *stage) announced(applications int) {
	s.test.Helper()
	var notes []string
	s.wait("the Event of the syncs", func(ctx context.Context) bool {
		list, err := s.core.EventsV1().Events(s.ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		notes = notes[:0]
		for _, e := range list.Items {
			notes = append(notes, e.Note)
			all := strings.Contains(e.Note, fmt.Sprintf(" synced %d applications", applications))
			if e.Reason == "Synced" && (all || e.Series != nil) {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprint(notes) })
}

// metrics checks what /metrics shows of Applications that are well.
func (s *stage) metrics(p *process) {
	s.test.Helper()
	labels := fmt.Sprintf(`{application="app-07",namespace=%q}`, s.ns)
	for series, want := range map[string]float64{
		`mizzen_sync_total{result="succeeded"}`:              steadyApplications,
		`mizzen_sync_total{result="failed"}`:                 0,
		`mizzen_diff_changes_total{action="create"}`:         steadyApplications + 1,
		`mizzen_source_lag_seconds` + labels:                 0,
		`mizzen_sync_duration_seconds_count{stage="sync"}`:   steadyApplications,
		`mizzen_sync_duration_seconds_count{stage="render"}`: steadyApplications,
		`mizzen_drift_restored_total`:                        0,
		fmt.Sprintf(`mizzen_application_condition{application="app-07",condition="Ready",namespace=%q,status="True"}`, s.ns): 1,
	} {
		if got := p.metric(series); got != want {
			s.test.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	_, body := p.get(s.test.Context(), "/metrics")
	for _, series := range []string{
		"mizzen_application_info{", "mizzen_render_duration_seconds_count", "mizzen_drift_restore_seconds_count", "go_goroutines", "process_cpu_seconds_total",
		`controller_runtime_reconcile_total{controller="application"`, `workqueue_depth{controller="application"`,
		`leader_election_master_status{name="mizzen-controller"} 1`,
	} {
		if !strings.Contains(body, series) {
			s.test.Errorf("/metrics lacks %s", series)
		}
	}
}
