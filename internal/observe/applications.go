package observe

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mizzen.dev/mizzen"
)

// Application is what the metrics show of an Application.
type Application struct {
	Name       mizzen.Name
	Repository string
	// Cluster is empty for the one that holds the Application.
	Cluster string
	Health  string
	// Conditions maps a condition's type to its status: True, False or Unknown.
	// The map must not change afterwards.
	Conditions map[string]string
	// BehindSince is when a revision was first seen that is not synced yet;
	// zero if there is none.
	BehindSince time.Time
}

// applications collects series from the state of each Application as it is when
// they are asked for, so that no stale series is left behind and a lag grows
// while nothing happens.
type applications struct {
	now func() time.Time

	mu  sync.Mutex
	all map[mizzen.Name]Application
}

var (
	infoDesc = prometheus.NewDesc("mizzen_application_info",
		"An Application; the value is always 1.", []string{"namespace", "application", "repository", "cluster", "health"}, nil)
	conditionDesc = prometheus.NewDesc("mizzen_application_condition",
		"The status that a condition of an Application has; the value is always 1.",
		[]string{"namespace", "application", "condition", "status"}, nil)
	lagDesc = prometheus.NewDesc("mizzen_source_lag_seconds",
		"For how long a newer revision of an Application has been waiting to be synced; 0 if there is none.",
		[]string{"namespace", "application"}, nil)
)

func newApplications(now func() time.Time) *applications {
	return &applications{now: now, all: map[mizzen.Name]Application{}}
}

func (a *applications) set(app Application) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[app.Name] = app
}

func (a *applications) forget(name mizzen.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, name)
}

// Describe implements prometheus.Collector.
func (a *applications) Describe(out chan<- *prometheus.Desc) {
	out <- infoDesc
	out <- conditionDesc
	out <- lagDesc
}

// Collect implements prometheus.Collector.
func (a *applications) Collect(out chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, app := range a.all {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			labels = append([]string{name.Namespace, name.Name}, labels...)
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
		}
		gauge(infoDesc, 1, app.Repository, app.Cluster, app.Health)
		for condition, status := range app.Conditions {
			gauge(conditionDesc, 1, condition, status)
		}
		lag := 0.0
		if !app.BehindSince.IsZero() {
			lag = max(0, a.now().Sub(app.BehindSince).Seconds())
		}
		gauge(lagDesc, lag)
	}
}
