package loadapi

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mizzen.dev/mizzen/lab/internal/shop/load"
)

var (
	answers = prometheus.NewDesc("load_answers_total", "Answers, by status.", []string{"target", "status"}, nil)
	failed  = prometheus.NewDesc("load_failed_requests_total", "Requests without an answer, or with a status of 400 or more.", []string{"target"}, nil)
	unsent  = prometheus.NewDesc("load_unsent_requests", "Requests that are due and not sent.", nil, nil)
	hops    = prometheus.NewDesc("load_version_requests_total", "Requests in which a version of the shop took part.",
		[]string{"target", "version"}, nil)
	latency = prometheus.NewDesc("load_request_duration_seconds", "Latency of requests.", []string{"target"}, nil)
)

// collector reads the numbers of the current load when it is scraped. They
// start from 0 with each load, as those of a process that was restarted.
type collector struct{ api *API }

func (a *API) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{a})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{answers, failed, unsent, hops, latency} {
		to <- d
	}
}

func (c collector) Collect(to chan<- prometheus.Metric) {
	run := c.api.current()
	if run == nil {
		return
	}
	report := run.Report()
	to <- prometheus.MustNewConstMetric(unsent, prometheus.GaugeValue, float64(report.Unsent))
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for i, t := range report.Targets {
		count(failed, t.Failed, t.Name)
		for status, n := range t.Statuses {
			count(answers, n, t.Name, status)
		}
		for _, v := range t.Versions {
			count(hops, v.Requests, t.Name, v.Name)
		}
		collectLatency(to, run.Histogram(i), t.Name)
	}
}

func collectLatency(to chan<- prometheus.Metric, h load.Histogram, target string) {
	to <- prometheus.MustNewConstHistogram(latency, h.Count, h.SumSeconds, h.Buckets, target)
}
