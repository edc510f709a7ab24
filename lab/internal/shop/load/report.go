package load

import "time"

// State says how a run is.
type State string

// The states.
const (
	// Idle: nothing was started yet.
	Idle State = "idle"
	// Running: requests are being sent.
	Running State = "running"
	// Done: all were sent.
	Done State = "done"
	// Stopped: somebody ended it before.
	Stopped State = "stopped"
)

// Report is what happened. A field's ratio is from 0 to 1.
type Report struct {
	// APIVersion is the version of this schema.
	APIVersion string `json:"apiVersion"`
	State      State  `json:"state"`
	// Config is what was asked for, with its defaults.
	Config *Config `json:"config,omitempty"`
	// StartedAt is when the first request was due.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// DurationSeconds is from the start to now, or to the last answer.
	DurationSeconds float64 `json:"durationSeconds"`
	// OpenLoop: latency counts from when a request was due, otherwise from
	// when it was sent.
	OpenLoop bool `json:"openLoop"`
	// RatePerSecond is how many requests were answered per second.
	RatePerSecond float64 `json:"ratePerSecond"`
	// Unsent requests were due and not sent, as every connection was waiting
	// for an answer.
	Unsent int64 `json:"unsent"`
	// Total is of all targets.
	Total Counts `json:"total"`
	// Targets are in the order of the Config.
	Targets []TargetReport `json:"targets"`
}

// Clean reports whether every request was sent and got a good answer.
func (r *Report) Clean() bool { return r.Total.Failed == 0 && r.Unsent == 0 }

// Counts are of a set of requests.
type Counts struct {
	Requests int64 `json:"requests"`
	// Failed had no answer, or a status of 400 or more.
	Failed      int64   `json:"failed"`
	FailedRatio float64 `json:"failedRatio"`
	// Latency is of all of them, also of those that failed.
	Latency Latency `json:"latency"`
}

// Latency is in seconds; a percentile is at most 0.8 % too high.
type Latency struct {
	Mean float64 `json:"meanSeconds"`
	P50  float64 `json:"p50Seconds"`
	P90  float64 `json:"p90Seconds"`
	P99  float64 `json:"p99Seconds"`
	P999 float64 `json:"p999Seconds"`
	Max  float64 `json:"maxSeconds"`
}

// TargetReport is of one target.
type TargetReport struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Counts
	RatePerSecond float64 `json:"ratePerSecond"`
	// Resent requests were sent a second time, on another connection, since
	// the server had closed the first: not a failure, as any HTTP client does
	// it, but a sign that somebody closes connections that are in use.
	Resent int64 `json:"resent"`
	// Statuses counts answers by HTTP status.
	Statuses map[string]int64 `json:"statuses"`
	// Versions are those of the shop that took part, by name.
	Versions []VersionReport `json:"versions"`
	// Failures are the reasons, the most frequent first.
	Failures []Failure `json:"failures"`
}

// VersionReport is of the requests in which a version took part. Failed are
// those in which this version answered with a failure, its latency is that of
// the whole request.
type VersionReport struct {
	// Name is app and version: "reviews v2".
	Name string `json:"name"`
	// Ratio is its share of the requests that its app took part in.
	Ratio float64 `json:"ratio"`
	Counts
}

// Failure is one reason.
type Failure struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
	// First are the first few, in the order of their answers.
	First []Sample `json:"first"`
}

// Sample is one failed request.
type Sample struct {
	// OffsetSeconds is from the start of the run to the failure.
	OffsetSeconds float64 `json:"offsetSeconds"`
	Detail        string  `json:"detail"`
}

func (h *histogram) counts(failed int64) Counts {
	c := Counts{Requests: int64(h.count), Failed: failed}
	if h.count == 0 {
		return c
	}
	c.FailedRatio = float64(failed) / float64(h.count)
	c.Latency = Latency{
		Mean: h.sum.Seconds() / float64(h.count),
		P50:  h.quantile(0.5).Seconds(), P90: h.quantile(0.9).Seconds(),
		P99: h.quantile(0.99).Seconds(), P999: h.quantile(0.999).Seconds(), Max: h.max.Seconds(),
	}
	return c
}
