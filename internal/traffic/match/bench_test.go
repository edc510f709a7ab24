package match

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// table is the routes of 16 VirtualServices: each host has its short and long
// names and address, and routes by user, path, query and weight before the
// last.
func table(b testing.TB) *Router {
	b.Helper()
	var text strings.Builder
	text.WriteString("virtualHosts:\n")
	for i := range 16 {
		fmt.Fprintf(&text, `- name: s%[1]d
  domains: [s%[1]d.shop.svc.cluster.local, "s%[1]d.shop.svc.cluster.local:80", s%[1]d, "s%[1]d:80", s%[1]d.shop, s%[1]d.shop.svc, 10.0.0.%[1]d]
  routes:
  - {name: a, match: {prefix: /, headers: [{name: end-user, stringMatch: {exact: jason}}]}}
  - {name: b, match: {path: /login}}
  - {name: c, match: {safeRegex: {regex: "/items/[0-9]+"}}}
  - {name: d, match: {prefix: /api/v2, queryParameters: [{name: beta, stringMatch: {exact: "1"}}]}}
  - {name: e, match: {prefix: /}, route: {weightedClusters: {clusters: [{name: e1, weight: 90}, {name: e2, weight: 10}]}}}
`, i)
	}
	text.WriteString("- {name: allow_any, domains: ['*'], routes: [{name: any, match: {prefix: /}}]}\n")
	return NewRouter(hosts(b, text.String()))
}

// processorTime returns what this process has used. Decisions are counted by
// it: other work on the machine takes time, but not theirs.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// typical are requests to table, one of each kind.
func typical() map[string]Request {
	base := []Header{{"user-agent", "curl/8"}, {"accept", "*/*"}, {"x-trace", "1"}}
	return map[string]Request{
		"last":    {Method: "GET", Path: "/catalog?page=2", Host: "s7.shop:80", Headers: base},
		"header":  {Method: "GET", Path: "/catalog", Host: "s7", Headers: append([]Header{{"end-user", "jason"}}, base...)},
		"regex":   {Method: "GET", Path: "/items/4711", Host: "s15.shop.svc.cluster.local", Headers: base},
		"unknown": {Method: "GET", Path: "/", Host: "a.long.name.example.org:8080", Headers: base},
	}
}

// quick are the options of who asks often.
var quick = Options{Normalization: Normalization{DotSegments: true, MergeSlashes: true}, StripTrailingDot: true, WithoutTried: true}

// TestAllocations: a decision about a typical request leaves nothing to collect.
func TestAllocations(t *testing.T) {
	router := table(t)
	for name, r := range typical() {
		if name == "regex" {
			continue // the race detector drops what package regexp keeps
		}
		if n := testing.AllocsPerRun(100, func() { router.Route(r, quick) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkRoute decides about one request of each kind to a table of 16
// VirtualServices.
func BenchmarkRoute(b *testing.B) {
	t := table(b)
	for name, r := range typical() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				if out := t.Route(r, quick); out.Kind != Forward {
					b.Fatal(out.Kind)
				}
			}
			b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "decisions/cpu-s")
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	s := httpStack(b, "", httpRBAC("DENY", "d: "+policy(path("prefix", "/secret"), "{any: true}")),
		httpRBAC("ALLOW", "a: "+policy(path("prefix", "/api"), fmt.Sprintf(identity, web))+", b: "+policy("{any: true}", "{authenticated: {principalName: {safeRegex: {regex: '.*/ns/ops/.*'}}}}")))
	r, p := get("/api/x"), as(ops)
	b.ReportAllocs()
	for b.Loop() {
		Authorize(s, r, p)
	}
}
