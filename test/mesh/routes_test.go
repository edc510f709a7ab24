package mesh

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"

	"mizzen.dev/mizzen/internal/labtest"
)

// TestWeights sends 10,000 requests to a 90/10 split. The share of v2 lies
// within five standard deviations of the binomial distribution: a wrong weight
// is seen, and a right one fails once in two million runs.
func TestWeights(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	m.apply(subsets + virtualService(`
  - route:
    - {destination: {host: server, subset: v1}, weight: 90}
    - {destination: {host: server, subset: v2}, weight: 10}`))
	labtest.Eventually(t, "the split to reach the caller's proxy", func(context.Context) bool {
		r := m.load("-n", "100", "http://server/")
		return r.of("server v1") > 70 && r.Total.Failed == 0
	})
	const n, p = 10_000, 0.1
	r := m.load("-n", strconv.Itoa(n), "-c", "8", "http://server/")
	if r.Total.Requests != n || r.Total.Failed != 0 {
		t.Fatalf("of %d requests %d were answered and %d failed: %s", n, r.Total.Requests, r.Total.Failed, r)
	}
	bound := 5 * math.Sqrt(n*p*(1-p))
	if got := float64(r.of("server v2")); math.Abs(got-n*p) > bound {
		t.Errorf("v2 answered %.0f of %d requests, want %.0f ± %.0f", got, n, n*p, bound)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	m.apply(workload("broken", "v1", "true", "{name: ERRORS, value: '1:503'}") + service("broken"))
	m.kubectl("rollout", "status", "-n", m.ns, "deployment", "broken-v1", "--timeout=3m")
	m.apply(subsets + virtualService(`
  - match: [{uri: {prefix: /new}}]
    rewrite: {uri: /old}
    route: [{destination: {host: server, subset: v2}}]
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: server, subset: v2}}]
  - match: [{uri: {prefix: /abort}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 418}}
    route: [{destination: {host: server, subset: v1}}]
  - match: [{uri: {prefix: /late}}]
    fault: {delay: {percentage: {value: 100}, fixedDelay: 3s}}
    route: [{destination: {host: server, subset: v1}}]
  - match: [{uri: {prefix: /delay}}]
    timeout: 500ms
    route: [{destination: {host: server, subset: v1}}]
  - match: [{uri: {prefix: /broken}}]
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx}
    route: [{destination: {host: broken}}]
  - match: [{uri: {prefix: /mirrored}}]
    route: [{destination: {host: server, subset: v1}}]
    mirror: {host: server, subset: v2}
    mirrorPercentage: {value: 100}
  - route: [{destination: {host: server, subset: v1}}]`))
	m.becomes("418", "caller-v1", "http://server/abort")

	if a := m.becomes("200", "caller-v1", "http://server/new/thing"); a.Version != "v2" || a.Path != "/old/thing" {
		t.Errorf("/new/thing is answered by %s for %s, want v2 for /old/thing", a.Version, a.Path)
	}
	if a := m.becomes("200", "caller-v1", "http://server/", "-H", "end-user: jason"); a.Version != "v2" {
		t.Errorf("jason is answered by %s, want v2", a.Version)
	}
	if a := m.becomes("200", "caller-v1", "http://server/"); a.Version != "v1" {
		t.Errorf("everybody else is answered by %s, want v1", a.Version)
	}
	// The server itself answers at once; nothing else is as long as the delay.
	if status, seconds := m.takes("caller-v1", "http://server/late"); status != "200" || seconds < 3 || seconds > 20 {
		t.Errorf("/late is answered by %s after %.2f s, want 200 after 3 s", status, seconds)
	}
	if status, seconds := m.takes("caller-v1", "http://server/"); status != "200" || seconds >= 3 {
		t.Errorf("/ is answered by %s after %.2f s, want 200 at once", status, seconds)
	}
	m.becomes("504", "caller-v1", "http://server/delay?d=5s")

	m.becomes("503", "caller-v1", "http://server/broken")
	before := m.served("broken-v1", "503")
	if status, body := m.get("caller-v1", "http://server/broken"); status != "503" {
		t.Errorf("/broken is answered by %s: %s", status, body)
	}
	if tries := m.served("broken-v1", "503") - before; tries != 4 {
		t.Errorf("the server was tried %d times, want 4: once and three retries", tries)
	}

	before = m.served("server-v2", "200")
	m.becomes("200", "caller-v1", "http://server/mirrored")
	labtest.Eventually(t, "the mirrored request to reach v2", func(context.Context) bool {
		return m.served("server-v2", "200") > before
	})
}

// served counts what a server has answered with a status, by its own metrics.
func (m *team) served(workload, status string) int {
	m.Helper()
	out := m.kubectl("exec", "-n", m.ns, "deployment/"+workload, "-c", "app", "--", "curl", "-s", "http://localhost:8080/metrics")
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "shop_request_duration_seconds_count{") || !strings.Contains(line, `status="`+status+`"`) {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]))
		if err != nil {
			m.Fatalf("metrics of %s: %v", workload, err)
		}
		return n
	}
	return 0
}

func TestGatewayRoutesByHostAndPath(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	gateway := "http://istio-ingressgateway.istio-ingress/"
	for _, c := range []struct{ host, path, want string }{
		{"shop.lab", "", "web"},
		{"anything.example", "", "web"},
		{"shop.lab", "catalog", "catalog"},
		{"catalog.lab", "", "catalog"},
	} {
		if a := m.becomes("200", "stranger-v1", gateway+c.path, "-H", "Host: "+c.host); a.App != c.want {
			t.Errorf("%s/%s is answered by %s, want %s", c.host, c.path, a.App, c.want)
		}
	}
}
