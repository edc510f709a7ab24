package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen/internal/labtest"
)

// TestTracing turns tracing on by a commit, and off by another. Jaeger takes
// minutes to build, so that commit puts `shop spans` in its place; all else is
// what `make up TRACING=1` runs.
func TestTracing(t *testing.T) {
	m := newTeam(t)
	repo := m.clone()
	repo.edit("apps/values.yaml", "tracing: false", "tracing: true")
	repo.edit("tracing/jaeger.yaml", "image: lab/jaeger:v1", "image: lab/shop:v1")
	repo.edit("tracing/jaeger.yaml", "args: [--config=/etc/jaeger/config.yaml]", "args: [spans]")
	repo.push("Trace every request")
	m.ready("tracing")
	var url string
	labtest.Eventually(t, "an address of traces", func(context.Context) bool {
		url = m.lab.Addresses(t)["tracing"]
		return url != ""
	})
	m.traced(url, "catalog.shop", "istio-ingressgateway.istio-ingress", "orders.shop", "payments.shop", "ratings.shop", "reviews.shop", "web.shop")

	repo.revert(1)
	m.applications("tracing", false)
	labtest.Eventually(t, "no address of traces", func(context.Context) bool {
		return m.lab.Addresses(t)["tracing"] == ""
	})
}

// traced sends requests to the shop until one of them is one trace through all
// services, and complete: the proxies hear of it one after the other, and send
// their spans every few seconds.
func (m *team) traced(url string, want ...string) {
	m.Helper()
	longest := trace{}
	defer func() {
		if m.Failed() {
			m.Logf("services of the longest trace (-want +got):\n%s\nin full: %+v", cmp.Diff(want, longest.services()), longest)
		}
	}()
	labtest.Eventually(m.T, "one trace through all services", func(context.Context) bool {
		m.becomes("200", "stranger-v1", shop)
		for _, t := range m.traces(url, "web.shop") { // the latest first
			if len(t.services()) >= len(longest.services()) {
				longest = t
			}
		}
		return slices.Equal(longest.services(), want) && longest.roots() == 1
	})
}

// trace is what is read of a trace in Jaeger's form.
type trace struct {
	Spans []struct {
		SpanID     string
		References []struct{ SpanID string }
	}
	Processes map[string]struct{ ServiceName string }
}

// services are those that have a part in it, sorted.
func (t trace) services() (names []string) {
	for _, p := range t.Processes {
		names = append(names, p.ServiceName)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// roots counts the spans whose parent is not in the trace.
func (t trace) roots() (n int) {
	spans := map[string]bool{}
	for _, s := range t.Spans {
		spans[s.SpanID] = true
	}
	for _, s := range t.Spans {
		if len(s.References) == 0 || !spans[s.References[0].SpanID] {
			n++
		}
	}
	return n
}

// traces asks for those of a service.
func (m *team) traces(url, service string) []trace {
	m.Helper()
	request, err := http.NewRequestWithContext(m.Context(), http.MethodGet, fmt.Sprintf("%s/api/traces?service=%s", url, service), nil)
	if err != nil {
		m.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		m.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Data []trace }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		m.Fatalf("traces of %s: %s, %v", service, response.Status, err)
	}
	return answer.Data
}
