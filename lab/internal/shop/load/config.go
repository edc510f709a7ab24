// Package load puts load on HTTP servers and reports how they answered. A
// Config comes in; a Run sends its requests; its Report tells, for each target
// and each version of the shop that took part, counts, failures with their
// reasons, and percentiles of latency. Memory does not grow with time.
//
// At a rate (Config.QPS) the loop is open: request n is due at n/QPS after the
// start, whatever became of those before it, and its latency counts from when
// it was due. A server that stalls therefore shows in the percentiles with
// every request that it kept waiting, not with the few that were on the
// connections ("coordinated omission"). Without a rate the loop is closed: each
// connection sends as soon as it has its answer, and latency counts from
// sending.
package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// APIVersion is the version of the schemas of Config and Report.
const APIVersion = "load.mizzen.dev/v1"

// The bounds of a Config.
const (
	maxTargets     = 32
	maxWeight      = 100
	maxHeaders     = 32
	maxText        = 2048
	maxConnections = 1000
	maxQPS         = 100_000
	maxRequests    = 1_000_000_000
	maxDuration    = 24 * time.Hour
	maxTimeout     = time.Minute
)

// Config is what to send.
type Config struct {
	// APIVersion may be empty in what users write.
	APIVersion string `json:"apiVersion,omitempty"`
	// Targets share the requests by their weights.
	Targets []Target `json:"targets"`
	// QPS is the rate of all requests together, per second; 0 is for as many
	// as the connections allow.
	QPS float64 `json:"qps"`
	// Connections is how many requests can be under way at once (default 4).
	Connections int `json:"connections"`
	// Duration and Requests bound the run, whichever comes first; without
	// either it goes on until it is stopped, for 24 hours at most.
	Duration Duration `json:"duration"`
	Requests int64    `json:"requests"`
	// KeepAlive is false for a new connection for each request.
	KeepAlive *bool `json:"keepAlive,omitempty"`
	// Timeout is that of one request, from sending (default 10s).
	Timeout Duration `json:"timeout"`
}

// Target is one kind of request.
type Target struct {
	// Name is how the report calls it (default: the URL).
	Name string `json:"name,omitempty"`
	URL  string `json:"url"`
	// Host replaces the Host header.
	Host string `json:"host,omitempty"`
	// Method is GET unless it says otherwise.
	Method string `json:"method,omitempty"`
	// Headers are sent with each request.
	Headers map[string]string `json:"headers,omitempty"`
	// Weight is its share of the requests, relative to the others' (default 1).
	Weight int `json:"weight,omitempty"`
}

// Duration is written as text, such as 1m30s.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%.80q is no duration such as 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// ParseConfig reads a Config from JSON, and refuses fields that it does not
// know.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("not a configuration of %s: %w", APIVersion, err)
	}
	if d.More() {
		return c, errors.New("more than one JSON value")
	}
	return c.Complete()
}

// Complete returns the Config with its defaults, or says what is wrong with
// it.
func (c Config) Complete() (Config, error) {
	if c.APIVersion != "" && c.APIVersion != APIVersion {
		return c, fmt.Errorf("apiVersion %.80q: want %s", c.APIVersion, APIVersion)
	}
	c.APIVersion = APIVersion
	if c.Connections == 0 {
		c.Connections = 4
	}
	if c.Timeout == 0 {
		c.Timeout = Duration(10 * time.Second)
	}
	if c.KeepAlive == nil {
		yes := true
		c.KeepAlive = &yes
	}
	if err := c.checkBounds(); err != nil {
		return c, err
	}
	if c.Duration == 0 && c.Requests == 0 {
		c.Duration = Duration(maxDuration)
	}
	return c, c.completeTargets()
}

// plain writes a number without an exponent, as users do.
func plain(number float64) string { return strconv.FormatFloat(number, 'f', -1, 64) }

func (c *Config) checkBounds() error {
	for _, b := range []struct {
		name           string
		value, atLeast float64
		atMost         float64
	}{
		{"qps", c.QPS, 0, maxQPS},
		{"connections", float64(c.Connections), 1, maxConnections},
		{"requests", float64(c.Requests), 0, maxRequests},
		{"duration in seconds", time.Duration(c.Duration).Seconds(), 0, maxDuration.Seconds()},
		{"timeout in seconds", time.Duration(c.Timeout).Seconds(), 0.001, maxTimeout.Seconds()},
	} {
		if !(b.value >= b.atLeast && b.value <= b.atMost) { // not a number is refused, too
			return fmt.Errorf("%s: %s is not between %s and %s", b.name, plain(b.value), plain(b.atLeast), plain(b.atMost))
		}
	}
	return nil
}

func (c *Config) completeTargets() error {
	if len(c.Targets) == 0 || len(c.Targets) > maxTargets {
		return fmt.Errorf("%d targets: want 1 to %d", len(c.Targets), maxTargets)
	}
	c.Targets = slices.Clone(c.Targets)
	names := map[string]bool{}
	for i := range c.Targets {
		t := &c.Targets[i]
		if err := t.complete(); err != nil {
			return fmt.Errorf("targets[%d]: %w", i, err)
		}
		if names[t.Name] {
			return fmt.Errorf("targets[%d]: a second %q: give them names", i, t.Name)
		}
		names[t.Name] = true
	}
	return nil
}

func (t *Target) complete() error {
	if t.Name == "" {
		t.Name = t.URL
	}
	if t.Method == "" {
		t.Method = http.MethodGet
	}
	if t.Weight == 0 {
		t.Weight = 1
	}
	if err := t.checkURL(); err != nil {
		return err
	}
	switch {
	case len(t.Name) > maxText || strings.ContainsFunc(t.Name, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("name %.200q: want one line", t.Name)
	case !httpguts.ValidHeaderFieldName(t.Method): // the same characters
		return fmt.Errorf("method %.80q is none", t.Method)
	case t.Weight < 0 || t.Weight > maxWeight:
		return fmt.Errorf("weight %d: want 1 to %d", t.Weight, maxWeight)
	}
	return t.checkHeaders()
}

func (t *Target) checkURL() error {
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(t.URL) > maxText {
		return fmt.Errorf("url %.200q: want http://HOST/PATH or https://HOST/PATH", t.URL)
	}
	return nil
}

func (t *Target) checkHeaders() error {
	if len(t.Host) > maxText || !httpguts.ValidHostHeader(t.Host) {
		return fmt.Errorf("host %.200q is none", t.Host)
	}
	if len(t.Headers) > maxHeaders {
		return fmt.Errorf("%d headers: want at most %d", len(t.Headers), maxHeaders)
	}
	for name, value := range t.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || len(value) > maxText {
			return fmt.Errorf("header %.80q cannot be sent", name)
		}
	}
	return nil
}

// order returns the targets' indices as requests take them, over and over:
// each as often as its weight, spread evenly (nginx's smooth weighted round
// robin). The same Config gives the same order.
func (c *Config) order() []int {
	total := 0
	for _, t := range c.Targets {
		total += t.Weight
	}
	current := make([]int, len(c.Targets))
	order := make([]int, total)
	for n := range order {
		best := 0
		for i, t := range c.Targets {
			if current[i] += t.Weight; current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order[n] = best
	}
	return order
}
