package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are those of one server; sidecars have Istio's.
type metrics struct {
	registry *prometheus.Registry
	duration *prometheus.HistogramVec
}

func newMetrics(s *Server) *metrics {
	who := prometheus.Labels{"app": s.settings.App, "version": s.settings.Version}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shop_request_duration_seconds", Help: "Time that answers of the shop took.", ConstLabels: who,
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"protocol", "status"}),
	}
	isReady := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shop_ready", Help: "1 if the server is ready for requests.", ConstLabels: who,
	}, func() float64 {
		if s.phase.Load() == ready {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(m.duration, isReady, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) observe(protocol string, status int, took time.Duration) {
	m.duration.WithLabelValues(protocol, strconv.Itoa(status)).Observe(took.Seconds())
}
