package load

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// What a target's statistics keep apart at most; the rest is counted together
// under other.
const (
	maxVersions = 32
	maxReasons  = 64
	maxSamples  = 5
	other       = "(other)"
)

// outcome is what became of one request.
type outcome struct {
	// at is when it ended, after the start of the run.
	at, latency time.Duration
	// status is 0 without an answer.
	status int
	// hops are the versions that took part, and whether each failed.
	hops map[hop]bool
	// reason is empty if the request did not fail.
	reason, detail string
	resent         bool
}

// hop is one version of one app.
type hop struct{ app, version string }

type stats struct {
	latency        histogram
	failed, resent int64
	statuses       map[int]int64
	versions       map[hop]*version
	// apps counts the requests in which an app took part.
	apps    map[string]int64
	reasons map[string]*reason
}

type version struct {
	latency histogram
	failed  int64
}

type reason struct {
	count int64
	first []Sample
}

func newStats() *stats {
	return &stats{statuses: map[int]int64{}, versions: map[hop]*version{}, apps: map[string]int64{}, reasons: map[string]*reason{}}
}

func (s *stats) add(o outcome) {
	s.latency.add(o.latency)
	if o.resent {
		s.resent++
	}
	if o.status != 0 {
		s.statuses[o.status]++
	}
	s.addHops(o)
	if o.reason == "" {
		return
	}
	s.failed++
	r := limited(s.reasons, o.reason, maxReasons, other)
	r.count++
	if len(r.first) < maxSamples {
		r.first = append(r.first, Sample{OffsetSeconds: o.at.Seconds(), Detail: o.detail})
	}
}

func (s *stats) addHops(o outcome) {
	apps := map[string]bool{}
	for h, failed := range o.hops {
		v := limited(s.versions, h, maxVersions, hop{app: other})
		v.latency.add(o.latency)
		if failed {
			v.failed++
		}
		if _, kept := s.versions[h]; !kept {
			h.app = other
		}
		apps[h.app] = true
	}
	for app := range apps {
		s.apps[app]++
	}
}

// limited returns the value of key, or that of rest if there are too many
// keys already.
func limited[K comparable, V any](m map[K]*V, key K, most int, rest K) *V {
	if _, there := m[key]; !there && len(m) >= most {
		key = rest
	}
	if m[key] == nil {
		m[key] = new(V)
	}
	return m[key]
}

func (s *stats) report(t Target, seconds float64) TargetReport {
	r := TargetReport{
		Name: t.Name, URL: t.URL, Counts: s.latency.counts(s.failed), Resent: s.resent,
		Statuses: map[string]int64{}, Versions: []VersionReport{}, Failures: []Failure{},
	}
	if seconds > 0 {
		r.RatePerSecond = float64(r.Requests) / seconds
	}
	for status, n := range s.statuses {
		r.Statuses[strconv.Itoa(status)] = n
	}
	order := func(a, b hop) int { return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.version, b.version)) }
	for _, h := range slices.SortedFunc(maps.Keys(s.versions), order) {
		v := s.versions[h]
		name := h.app
		if h.version != "" {
			name += " " + h.version
		}
		r.Versions = append(r.Versions, VersionReport{
			Name: name, Ratio: float64(v.latency.count) / float64(s.apps[h.app]), Counts: v.latency.counts(v.failed),
		})
	}
	for _, text := range slices.Sorted(maps.Keys(s.reasons)) {
		why := s.reasons[text]
		r.Failures = append(r.Failures, Failure{Reason: text, Count: why.count, First: slices.Clone(why.first)})
	}
	slices.SortStableFunc(r.Failures, func(a, b Failure) int { return cmp.Compare(b.Count, a.Count) })
	return r
}
