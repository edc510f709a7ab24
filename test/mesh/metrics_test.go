package mesh

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen/internal/labtest"
)

// TestMetrics compares Istio's standard metrics with what the caller has seen,
// and asks Flagger's and Kiali's queries as docs/lab-metrics.md has them.
func TestMetrics(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	m.apply(workload("flaky", "v1", "true", "{name: ERRORS, value: '0.2'}", "{name: LATENCY, value: 30ms}") + service("flaky") + `
---
apiVersion: v1
kind: Service
metadata: {name: raw}
spec:
  selector: {app: stranger}
  ports: [{name: tcp, port: 9000, targetPort: 8080}]
`)
	m.kubectl("rollout", "status", "-n", m.ns, "deployment", "flaky-v1", "--timeout=3m")
	m.apply(subsets + virtualService(`
  - match: [{uri: {prefix: /teapot}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 418}}
    route: [{destination: {host: server, subset: v1}}]
  - match: [{uri: {prefix: /known}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 410}}
    route: [{destination: {host: server, subset: v1}}]
  - route: [{destination: {host: server, subset: v1}}]`) + `
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  action: DENY
  rules: [{to: [{operation: {paths: [/secret]}}]}]
`)
	// What the caller's proxy has now, it was told after the Services above. It
	// may know the rules before the subset is ready: until then nobody could tell
	// for whom the answer of a fault was meant.
	m.becomes("410", "caller-v1", "http://server/known")
	m.becomes("200", "caller-v1", "http://server/")
	m.becomes("418", "caller-v1", "http://server/teapot")
	m.becomes("403", "caller-v1", "http://server/secret")

	queries := m.documented("flaky")
	if len(queries) != 6 {
		t.Fatalf("docs/lab-metrics.md has %d queries, want those of Flagger (2) and Kiali (4)", len(queries))
	}
	seen := m.underLoad(queries[0], queries[3])
	m.flagger(queries[0], queries[1])
	m.graph(queries[2])
	m.kiali(queries[3], queries[4], queries[5])
	m.counts(seen)
	m.labels()
	m.grpc()
	m.scraped()
}

// underLoad sends requests to flaky, and connections to the stranger, until
// both are rates: those need several scrapes. It returns how the requests were
// answered, by status.
func (m *team) underLoad(requests, connections string) map[string]int {
	m.Helper()
	seen := map[string]int{}
	labtest.Eventually(m.T, "rates of requests and connections", func(context.Context) bool {
		r := m.load("-n", "100", "-c", "4", "http://flaky/")
		for status, n := range r.Targets[0].Statuses {
			seen[status] += n
		}
		m.get("caller-v1", "http://raw:9000/")
		many, _ := m.value(`sum(increase(istio_requests_total{reporter="destination", destination_workload_namespace="` + m.ns + `", destination_workload="flaky-v1"}[1m]))`)
		_, rate := m.value(requests)
		return many >= 500 && rate && len(m.query(connections)) > 0
	})
	return seen
}

// flagger asks for the metrics with which Flagger judges a new version.
func (m *team) flagger(successRate, duration string) {
	m.Helper()
	// 500 requests: five standard deviations are 9 %.
	if got, ok := m.value(successRate); !ok || got < 70 || got > 90 {
		m.Errorf("request-success-rate is %v, want about 80\n%s", got, successRate)
	}
	// A request takes at least 30 ms, so the quantile is not in the bucket that ends with 25.
	if got, ok := m.value(duration); !ok || got <= 25 {
		m.Errorf("request-duration is %v, want more than 25\n%s", got, duration)
	}
}

// graph asks for the edges that Kiali draws.
func (m *team) graph(query string) {
	m.Helper()
	edges := map[string]map[string]string{}
	for _, s := range m.query(query) {
		if s.Labels["destination_service_name"] == "flaky" {
			edges[s.Labels["response_code"]] = s.Labels
		}
	}
	want := map[string]map[string]string{}
	for _, code := range []string{"200", "500"} {
		want[code] = m.edge("flaky", "response_code", code)
		for _, label := range []string{
			"reporter", "connection_security_policy", "source_app", "source_version", "source_principal",
			"destination_app", "destination_version", "destination_principal",
		} {
			delete(want[code], label) // the query does not ask for it
		}
	}
	if diff := cmp.Diff(want, edges); diff != "" {
		m.Errorf("edges of the graph (-want +got):\n%s\n%s", diff, query)
	}
}

// kiali asks for what Kiali shows beside its graph: connections, and the health
// and latency of services.
func (m *team) kiali(connections, health, percentile string) {
	m.Helper()
	rows := m.query(connections)
	want := map[string]string{
		"source_workload": "caller-v1", "source_canonical_service": "caller",
		"destination_service_name": "raw", "destination_workload": "stranger-v1", "response_flags": "-",
	}
	if len(rows) != 1 || !cmp.Equal(want, rows[0].Labels) {
		m.Errorf("connections are %v, want %v\n%s", rows, want, connections)
	}

	codes := map[string]bool{}
	for _, s := range m.query(health) {
		codes[s.Labels["request_protocol"]+" "+s.Labels["response_code"]] = s.Value > 0
	}
	if diff := cmp.Diff(map[string]bool{"http 200": true, "http 500": true}, codes); diff != "" {
		m.Errorf("health of the service (-want +got):\n%s\n%s", diff, health)
	}

	latency := map[string]float64{}
	for _, s := range m.query(percentile) {
		latency[s.Labels["destination_service_name"]] = s.Value
	}
	if latency["flaky"] <= 25 {
		m.Errorf("the 95th percentiles are %v, want more than 25 for flaky\n%s", latency, percentile)
	}
}

// counts compares both sides' counters, and the histogram of durations, with
// what the caller has seen: not one request is lost, each has its exact code.
func (m *team) counts(seen map[string]int) {
	m.Helper()
	for _, metric := range []string{"istio_requests_total", "istio_request_duration_milliseconds_count", "istio_request_duration_milliseconds_bucket"} {
		for _, reporter := range []string{"source", "destination"} {
			what := fmt.Sprintf("%s of reporter %s to be %v", metric, reporter, seen)
			labtest.Eventually(m.T, what, func(context.Context) bool {
				got := map[string]int{}
				for _, s := range m.query(fmt.Sprintf(`%s{reporter=%q, source_workload="caller-v1", destination_service_name="flaky", destination_service_namespace=%q, le=~"|[+]Inf"}`,
					metric, reporter, m.ns)) {
					got[s.Labels["response_code"]] += int(s.Value)
				}
				return cmp.Equal(seen, got)
			})
		}
	}
}

// labels compares every label of a request that the server's proxy refused, and
// of one that the caller's own answered.
func (m *team) labels() {
	m.Helper()
	source := []string{"reporter", "source", "connection_security_policy", "unknown"}
	m.same("source", "403", m.edge("server", append(source, "response_code", "403")...))
	m.same("destination", "403", m.edge("server", "response_code", "403"))
	nobody := m.edge("server", append(source, "response_code", "418", "response_flags", "FI")...)
	for _, label := range []string{"workload", "workload_namespace", "canonical_service", "canonical_revision", "cluster", "app", "version", "principal"} {
		nobody["destination_"+label] = "unknown"
	}
	nobody["source_principal"] = "unknown" // which certificate is shown, a connection tells
	m.same("source", "418", nobody)
}

// edge are the labels of a request from the caller to a service whose pods are
// of v1, as the server's side reports it, and further ones in pairs.
func (m *team) edge(service string, pairs ...string) map[string]string {
	edge := map[string]string{
		"reporter": "destination", "connection_security_policy": "mutual_tls", "request_protocol": "http", "response_flags": "-",
		"destination_service": service + "." + m.ns + ".svc.cluster.local", "destination_service_name": service, "destination_service_namespace": m.ns,
	}
	for side, app := range map[string]string{"source_": "caller", "destination_": service} {
		edge[side+"workload"], edge[side+"workload_namespace"] = app+"-v1", m.ns
		edge[side+"canonical_service"], edge[side+"canonical_revision"] = app, "v1"
		edge[side+"app"], edge[side+"version"] = app, "v1"
		edge[side+"cluster"], edge[side+"principal"] = "Kubernetes", "spiffe://cluster.local/ns/"+m.ns+"/sa/"+app
	}
	for i := 0; i < len(pairs); i += 2 {
		edge[pairs[i]] = pairs[i+1]
	}
	return edge
}

// same waits for the caller's requests for server that were answered by code,
// and compares their labels.
func (m *team) same(reporter, code string, want map[string]string) {
	m.Helper()
	m.labeled(fmt.Sprintf("%s of reporter %s", code, reporter),
		fmt.Sprintf(`reporter=%q, source_workload="caller-v1", source_workload_namespace=%q, response_code=%q`, reporter, m.ns, code), want)
}

// grpc compares every label of a gRPC call of the shop, as both sides tell it.
func (m *team) grpc() {
	m.Helper()
	m.becomes("200", "caller-v1", shop) // through web and orders
	ofShop := strings.NewReplacer("caller", "orders", m.ns, "shop")
	for reporter, security := range map[string]string{"source": "unknown", "destination": "mutual_tls"} {
		want := m.edge("payments", "reporter", reporter, "connection_security_policy", security,
			"request_protocol", "grpc", "response_code", "200", "grpc_response_status", "0")
		for label, value := range want {
			want[label] = ofShop.Replace(value)
		}
		m.labeled("a gRPC call of reporter "+reporter, fmt.Sprintf(
			`reporter=%q, source_workload="orders-v1", destination_service_name="payments", grpc_response_status="0"`, reporter), want)
	}
}

// labeled waits until requests are counted that a selector admits, and
// compares their labels.
func (m *team) labeled(what, selector string, want map[string]string) {
	m.Helper()
	var got []sample
	labtest.Eventually(m.T, what, func(context.Context) bool {
		got = m.query("sum without (job, instance, namespace, pod, app, version) (istio_requests_total{" + selector + "})")
		return len(got) > 0
	})
	if diff := cmp.Diff(want, got[0].Labels); len(got) != 1 || diff != "" {
		m.Errorf("%d series of %s, labels (-want +got):\n%s", len(got), what, diff)
	}
}

// scraped looks whether Mizzen, on the host, and istiod answer Prometheus.
func (m *team) scraped() {
	m.Helper()
	for _, expr := range []string{`up{job="mizzen"}`, `min(up{job="pods", app="istiod"})`, `count(count by (__name__) ({job="mizzen", __name__=~"mizzen_.+"})) > bool 0`} {
		labtest.Eventually(m.T, expr+" to be 1", func(context.Context) bool {
			up, ok := m.value(expr)
			return ok && up == 1
		})
	}
}
