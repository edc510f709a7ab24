package observe

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mizzen.dev/mizzen"
)

// Metrics are Mizzen's own. Names and labels are part of the user interface.
// Labels are bounded: stages, results, actions, and the names of Applications
// that exist; never a revision or a message. Nil counts nothing.
type Metrics struct {
	registry     *prometheus.Registry
	applications *applications

	syncs        *prometheus.CounterVec
	stages       *prometheus.HistogramVec
	changes      *prometheus.CounterVec
	renders      *prometheus.CounterVec
	renderTime   prometheus.Histogram
	restored     prometheus.Counter
	restoredTime prometheus.Histogram
}

// NewMetrics returns metrics on a registry of their own; now is the clock that
// lags are measured by.
func NewMetrics(now func() time.Time) *Metrics {
	seconds := prometheus.ExponentialBuckets(0.001, 2, 18) // 1 ms to 131 s
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		applications: newApplications(now),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_sync_total", Help: "Syncs, by result: succeeded or failed.",
		}, []string{"result"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mizzen_sync_duration_seconds", Help: "How long the stages of syncs took; the stage sync is the whole.", Buckets: seconds,
		}, []string{"stage"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_diff_changes_total", Help: "Objects that syncs had to change, by action.",
		}, []string{"action"}),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_renders_total", Help: "Renderings, by result: succeeded, failed, or kept if none was needed.",
		}, []string{"result"}),
		renderTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mizzen_render_duration_seconds", Help: "How long renderings took.", Buckets: seconds,
		}),
		restored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mizzen_drift_restored_total", Help: "Objects that had drifted and were restored.",
		}),
		restoredTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mizzen_drift_restore_seconds", Help: "From seeing a drift to its end.", Buckets: seconds,
		}),
	}
	m.registry.MustRegister(m.applications, m.syncs, m.stages, m.changes, m.renders, m.renderTime, m.restored, m.restoredTime)
	for _, result := range []string{succeeded, failed} {
		m.syncs.WithLabelValues(result) // a rate needs a zero to start from
		m.renders.WithLabelValues(result)
	}
	m.renders.WithLabelValues(kept)
	return m
}

// The values of the label result.
const (
	succeeded = "succeeded"
	failed    = "failed"
	kept      = "kept"
)

func result(err error) string {
	if err != nil {
		return failed
	}
	return succeeded
}

// Handler serves the metrics, and those of further registries, such as
// controller-runtime's.
func (m *Metrics) Handler(further ...prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(append(prometheus.Gatherers{m.registry}, further...), promhttp.HandlerOpts{})
}

func (m *Metrics) stage(s Stage, took time.Duration) {
	if m != nil {
		m.stages.WithLabelValues(string(s)).Observe(took.Seconds())
	}
}

func (m *Metrics) synced(err error) {
	if m != nil {
		m.syncs.WithLabelValues(result(err)).Inc()
	}
}

// Changed counts what a sync changed.
func (m *Metrics) Changed(c mizzen.Counts) {
	if m == nil {
		return
	}
	for action, n := range map[mizzen.Action]int{
		mizzen.Create: c.Created, mizzen.Update: c.Updated, mizzen.Delete: c.Deleted, mizzen.Keep: c.Kept,
	} {
		m.changes.WithLabelValues(string(action)).Add(float64(n))
	}
}

// Rendered counts a rendering.
func (m *Metrics) Rendered(took time.Duration, err error) {
	if m != nil {
		m.renders.WithLabelValues(result(err)).Inc()
		m.renderTime.Observe(took.Seconds())
	}
}

// RenderKept counts a rendering that was not needed.
func (m *Metrics) RenderKept() {
	if m != nil {
		m.renders.WithLabelValues(kept).Inc()
	}
}

// Restored counts a drifted object that was restored.
func (m *Metrics) Restored(took time.Duration) {
	if m != nil {
		m.restored.Inc()
		m.restoredTime.Observe(took.Seconds())
	}
}

// SetApplication makes the metrics show an Application as it now is.
func (m *Metrics) SetApplication(a Application) {
	if m != nil {
		m.applications.set(a)
	}
}

// ForgetApplication removes every series of an Application that is gone.
func (m *Metrics) ForgetApplication(name mizzen.Name) {
	if m != nil {
		m.applications.forget(name)
	}
}
