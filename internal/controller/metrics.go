package controller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

// metrics are Mizzen's own. Their labels are bounded: an Application's name
// and namespace, a renderer, a result; never a revision or a message.
type metrics struct {
	registry *prometheus.Registry

	syncs    *prometheus.CounterVec
	syncTime *prometheus.HistogramVec
	changes  *prometheus.CounterVec
	restored *prometheus.CounterVec
	heal     prometheus.Histogram
	renders  *prometheus.HistogramVec
	kept     *prometheus.CounterVec
	fetches  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	app := []string{"namespace", "application"}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 18)
	m := &metrics{
		registry: prometheus.NewRegistry(),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_sync_total", Help: "Syncs by result.",
		}, append(app, "result")),
		syncTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mizzen_sync_duration_seconds", Help: "How long applying a plan took.", Buckets: seconds,
		}, []string{"result"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_sync_changes_total", Help: "Objects changed by syncs, by action.",
		}, append(app, "action")),
		restored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_drift_restored_total", Help: "Objects that had drifted and were restored.",
		}, app),
		heal: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mizzen_drift_restore_duration_seconds", Help: "From seeing a drift to its end.", Buckets: seconds,
		}),
		renders: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mizzen_render_duration_seconds", Help: "How long rendering took; its count is the number of renderings.", Buckets: seconds,
		}, []string{"renderer", "result"}),
		kept: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mizzen_render_kept_total", Help: "Requests for a rendering that a kept result answered.",
		}, []string{"renderer"}),
		fetches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mizzen_source_fetch_duration_seconds", Help: "How long fetching a Repository took.", Buckets: seconds,
		}, []string{"result"}),
	}
	m.registry.MustRegister(m.syncs, m.syncTime, m.changes, m.restored, m.heal, m.renders, m.kept, m.fetches,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func outcome(err error) string {
	if err != nil {
		return "failed"
	}
	return "succeeded"
}

// Synced counts a sync.
func (m *metrics) Synced(app mizzen.Name, took time.Duration, c mizzen.Counts, err error) {
	m.syncs.WithLabelValues(app.Namespace, app.Name, outcome(err)).Inc()
	m.syncTime.WithLabelValues(outcome(err)).Observe(took.Seconds())
	for action, n := range map[mizzen.Action]int{
		mizzen.Create: c.Created, mizzen.Update: c.Updated, mizzen.Delete: c.Deleted, mizzen.Keep: c.Kept,
	} {
		if n > 0 {
			m.changes.WithLabelValues(app.Namespace, app.Name, string(action)).Add(float64(n))
		}
	}
}

// Restored counts a drifted object that was restored.
func (m *metrics) Restored(app mizzen.Name, took time.Duration) {
	m.restored.WithLabelValues(app.Namespace, app.Name).Inc()
	m.heal.Observe(took.Seconds())
}

func (m *metrics) renderHooks() render.Hooks {
	return render.Hooks{
		Rendered: func(r render.Renderer, took time.Duration, err error) {
			m.renders.WithLabelValues(string(r), outcome(err)).Observe(took.Seconds())
		},
		Kept: func(r render.Renderer) { m.kept.WithLabelValues(string(r)).Inc() },
	}
}

// fetched counts a fetch.
func (m *metrics) fetched(_ mizzen.Name, took time.Duration, err error) {
	m.fetches.WithLabelValues(outcome(err)).Observe(took.Seconds())
}
