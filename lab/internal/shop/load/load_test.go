package load

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistogram(t *testing.T) {
	var h histogram
	// 1 ms to 10 s in steps of 1 ms: every percentile is known.
	for i := 1; i <= 10_000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for share, want := range map[float64]time.Duration{
		0.5: 5 * time.Second, 0.9: 9 * time.Second, 0.99: 9900 * time.Millisecond, 0.999: 9990 * time.Millisecond, 1: 10 * time.Second,
	} {
		got := h.quantile(share)
		if got < want || got > want+want/128 {
			t.Errorf("quantile %v: %v, want %v and at most 0.8 %% more", share, got, want)
		}
	}
	if n := h.upTo(2048 * time.Millisecond); math.Abs(float64(n)-2048) > 16 {
		t.Errorf("%d are up to 2.048 s", n)
	}
	c := h.counts(100)
	if c.Requests != 10_000 || c.FailedRatio != 0.01 || c.Latency.Max != 10 || math.Abs(c.Latency.Mean-5.0005) > 1e-6 {
		t.Errorf("%+v", c)
	}
}

func TestHistogramHoldsEverything(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-1, 0, 1, time.Microsecond, 255 * time.Microsecond, 256 * time.Microsecond, 24 * time.Hour, math.MaxInt64} {
		h.add(d)
		if d >= time.Microsecond {
			row, column := bucket(uint64(d.Microseconds()))
			if top := top(row, column); top < d.Truncate(time.Microsecond) || float64(top) > float64(d)*(1+1.0/128) {
				t.Errorf("%v is in the bucket up to %v", d, top)
			}
		}
	}
	if h.count != 8 || h.quantile(1) < math.MaxInt64-time.Microsecond || h.quantile(0) != 0 {
		t.Errorf("%d, %v, %v", h.count, h.quantile(1), h.quantile(0))
	}
	var empty histogram
	if diff := cmp.Diff(Counts{}, empty.counts(0)); diff != "" {
		t.Error(diff)
	}
}

func TestOrder(t *testing.T) {
	c := Config{Targets: []Target{{Weight: 5}, {Weight: 1}, {Weight: 1}}}
	if diff := cmp.Diff([]int{0, 0, 1, 0, 2, 0, 0}, c.order()); diff != "" {
		t.Error(diff)
	}
}

const tree = `{"app":"web","version":"v1","status":502,"calls":{
  "http://catalog/": {"app":"catalog","version":"v1","status":200,"calls":{"http://x/":{"app":"x","version":"v1","status":200}}},
  "http://reviews/": {"app":"reviews","version":"v2","status":502,"calls":{
    "http://ratings/": {"status":503,"error":"upstream connect error or disconnect/reset before headers. reset reason: connection termination"}}}}}`

func TestReasons(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		"the deepest call is the reason": {502, nil, tree, "http://ratings/: status 503 UC: upstream connect error or disconnect/reset before headers. reset reason: connection termination"},
		"a version's own error":          {500, nil, `{"app":"web","version":"v1","status":500,"error":"as asked"}`, "status 500 by web v1: as asked"},
		"no answer below":                {502, nil, `{"app":"web","version":"v1","calls":{"http://a/":{"status":599,"error":"timeout: 10.1.2.3:80 late"}}}`, "http://a/: no answer: timeout: ADDRESS late"},
		"Envoy has nobody":               {503, nil, "no healthy upstream", "status 503 UH: no healthy upstream"},
		"Envoy denies":                   {403, nil, "RBAC: access denied", "status 403 RBAC: RBAC: access denied"},
		"Envoy has no route":             {404, http.Header{"Server": {"istio-envoy"}}, "", "status 404: NR: no route"},
		"no text":                        {500, nil, "", "status 500"},
		"two lines":                      {500, nil, "a\n  b", "status 500: a b"},
		"good":                           {200, nil, tree, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome{status: tc.status}
			judge(&o, tc.header, []byte(tc.body))
			if o.reason != tc.want {
				t.Errorf("%q, want %q", o.reason, tc.want)
			}
		})
	}
}

func TestVersionsOfTheTree(t *testing.T) {
	o := outcome{status: 502}
	judge(&o, nil, []byte(tree))
	want := map[hop]bool{{"web", "v1"}: true, {"catalog", "v1"}: false, {"x", "v1"}: false, {"reviews", "v2"}: true}
	if diff := cmp.Diff(want, o.hops, cmp.AllowUnexported(hop{})); diff != "" {
		t.Error(diff)
	}
}

func TestReportOfKnownData(t *testing.T) {
	s := newStats()
	for i := range 100 {
		o := outcome{at: time.Duration(i) * time.Second, latency: time.Millisecond, status: 200, hops: map[hop]bool{{"web", "v1"}: false}}
		switch {
		case i < 10:
			o.hops[hop{"reviews", "v2"}] = true
			o.status, o.latency, o.reason, o.detail = 502, 100*time.Millisecond, "b", "detail"
		case i < 12:
			o = outcome{at: o.at, latency: time.Second, reason: "a", resent: true}
		default:
			o.hops[hop{"reviews", "v1"}] = false
		}
		s.add(o)
	}
	r := s.report(Target{Name: "web"}, 50)
	if r.Requests != 100 || r.Failed != 12 || r.FailedRatio != 0.12 || r.RatePerSecond != 2 || r.Resent != 2 {
		t.Errorf("%+v", r.Counts)
	}
	if diff := cmp.Diff(map[string]int64{"200": 88, "502": 10}, r.Statuses); diff != "" {
		t.Error(diff)
	}
	type short struct {
		Name             string
		Requests, Failed int64
		Ratio            float64
	}
	var versions []short
	for _, v := range r.Versions {
		versions = append(versions, short{v.Name, v.Requests, v.Failed, v.Ratio})
	}
	want := []short{{"reviews v1", 88, 0, 88. / 98}, {"reviews v2", 10, 10, 10. / 98}, {"web v1", 98, 0, 1}}
	if diff := cmp.Diff(want, versions); diff != "" {
		t.Error(diff)
	}
	if len(r.Failures) != 2 || r.Failures[0].Reason != "b" || r.Failures[0].Count != 10 || len(r.Failures[0].First) != maxSamples {
		t.Errorf("%+v", r.Failures)
	}
	if at := r.Failures[1].First[1].OffsetSeconds; at != 11 {
		t.Errorf("the second failure of a was at %v s", at)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := newStats()
	for i := range 10_000 {
		n := strings.Repeat("x", i%500)
		s.add(outcome{status: 500, reason: "r" + n, hops: map[hop]bool{{"a" + n, "v1"}: true}})
	}
	if len(s.versions) > maxVersions+1 || len(s.reasons) > maxReasons+1 || len(s.apps) > maxVersions+1 {
		t.Errorf("%d versions, %d reasons, %d apps", len(s.versions), len(s.reasons), len(s.apps))
	}
	r := s.report(Target{}, 1)
	var failures int64
	for _, f := range r.Failures {
		failures += f.Count
	}
	if failures != 10_000 || !slices.ContainsFunc(r.Versions, func(v VersionReport) bool { return v.Name == other }) {
		t.Errorf("%d failures", failures)
	}
}

func TestConfig(t *testing.T) {
	for name, body := range map[string]string{
		"no target":      `{}`,
		"unknown field":  `{"targets":[{"url":"http://a/"}],"rate":3}`,
		"other version":  `{"apiVersion":"load.mizzen.dev/v2","targets":[{"url":"http://a/"}]}`,
		"two values":     `{"targets":[{"url":"http://a/"}]}{}`,
		"no URL":         `{"targets":[{"url":"a"}]}`,
		"same name":      `{"targets":[{"url":"http://a/"},{"url":"http://a/"}]}`,
		"weight":         `{"targets":[{"url":"http://a/","weight":-1}]}`,
		"method":         `{"targets":[{"url":"http://a/","method":"G T"}]}`,
		"header":         `{"targets":[{"url":"http://a/","headers":{"a b":"c"}}]}`,
		"split header":   `{"targets":[{"url":"http://a/","headers":{"a":"c\r\nd: e"}}]}`,
		"host":           `{"targets":[{"url":"http://a/","host":"a b"}]}`,
		"qps":            `{"targets":[{"url":"http://a/"}],"qps":1e9}`,
		"connections":    `{"targets":[{"url":"http://a/"}],"connections":100000}`,
		"duration":       `{"targets":[{"url":"http://a/"}],"duration":"48h"}`,
		"bare duration":  `{"targets":[{"url":"http://a/"}],"duration":"5"}`,
		"negative count": `{"targets":[{"url":"http://a/"}],"requests":-1}`,
	} {
		if _, err := ParseConfig([]byte(body)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := ParseConfig([]byte(`{"targets":[{"url":"http://a/"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := Config{
		APIVersion: APIVersion, Targets: []Target{{Name: "http://a/", URL: "http://a/", Method: "GET", Weight: 1}},
		Connections: 4, Duration: Duration(24 * time.Hour), KeepAlive: &yes, Timeout: Duration(10 * time.Second),
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestFromEnv(t *testing.T) {
	env := map[string]string{"TARGETS": "web=http://web/?a=b http://catalog/?a=b", "QPS": "20", "DURATION": "30s", "HOST": "shop.lab"}
	c, err := FromEnv(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 2 || c.Targets[0].Name != "web" || c.Targets[1].URL != "http://catalog/?a=b" || c.Targets[1].Host != "shop.lab" || c.QPS != 20 {
		t.Errorf("%+v", c)
	}
	if c, err := FromEnv(func(string) string { return "" }); c != nil || err != nil {
		t.Errorf("an empty environment: %+v, %v", c, err)
	}
	env["QPS"] = "many"
	if _, err := FromEnv(func(k string) string { return env[k] }); err == nil {
		t.Error("QPS=many was accepted")
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"targets":[{"name":"a","url":"http://a/","host":"h","headers":{"a":"b"},"weight":3}],"qps":1.5,"duration":"1m","keepAlive":false}`))
	f.Add([]byte(`{"targets":[{"url":"https://[::1]:1/?x"}],"requests":1e3,"timeout":"1ms"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseConfig(body)
		if err != nil {
			return
		}
		if again, err := c.Complete(); err != nil || cmp.Diff(c, again) != "" {
			t.Fatalf("not complete: %v", err)
		}
		for _, target := range c.Targets {
			if _, err := http.NewRequest(target.Method, target.URL, nil); err != nil {
				t.Fatalf("accepted, but cannot be sent: %v", err)
			}
		}
		if n := len(c.order()); n == 0 || n > maxTargets*maxWeight {
			t.Fatalf("%d in order", n)
		}
	})
}

func FuzzJudge(f *testing.F) {
	f.Add(502, []byte(tree))
	f.Add(200, []byte(`{"app":"a","calls":{"x":null}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		o := outcome{status: status}
		judge(&o, http.Header{}, body)
		if failed := status >= 400; failed != (o.reason != "") || len(o.reason) > maxReason+len("…") {
			t.Fatalf("status %d: reason %q", status, o.reason)
		}
	})
}
