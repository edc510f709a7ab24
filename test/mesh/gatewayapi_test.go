package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"mizzen.dev/mizzen/internal/labtest"
)

// TestGatewayAPI routes by the Gateway API: through the demo's Gateway, through
// one of the team's own, for which istiod deploys an Envoy, and from pod to pod
// by a route that is attached to a Service.
func TestGatewayAPI(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	for path, want := range map[string]string{"": "web", "catalog": "catalog"} {
		if a := m.becomes("200", "stranger-v1", "http://shop-gateway-istio.shop/"+path); a.App != want {
			t.Errorf("/%s of the demo's Gateway is answered by %s, want %s", path, a.App, want)
		}
	}

	m.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: team
  annotations: {networking.istio.io/service-type: ClusterIP}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: team.lab}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: team}
spec:
  parentRefs: [{name: team}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /new}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /old}}}]
    backendRefs: [{name: server, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: server}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 80}]
  rules:
  - matches: [{headers: [{name: end-user, value: jason}]}]
    backendRefs: [{name: caller, port: 80}]
  - backendRefs: [{name: server, port: 80}]
`)
	m.kubectl("wait", "-n", m.ns, "gateways.gateway.networking.k8s.io/team", "--for=condition=Programmed", "--timeout=2m")
	a := m.becomes("200", "stranger-v1", "http://team-istio/new/thing", "-H", "Host: team.lab")
	if a.App != "server" || a.Path != "/old/thing" {
		t.Errorf("the team's Gateway has /new/thing answered by %s for %s, want server for /old/thing", a.App, a.Path)
	}
	m.becomes("404", "stranger-v1", "http://team-istio/other", "-H", "Host: team.lab")
	m.becomes("404", "stranger-v1", "http://team-istio/new/thing", "-H", "Host: other.lab")

	m.answers("caller", "http://server/", "-H", "end-user: jason")
	m.answers("server", "http://server/")
}

// answers waits until an application answers the caller's request.
func (m *team) answers(app, url string, args ...string) {
	m.Helper()
	labtest.Eventually(m.T, fmt.Sprintf("%s %v to be answered by %s", url, args, app), func(context.Context) bool {
		_, body := m.get("caller-v1", url, args...)
		var a answer
		return json.Unmarshal([]byte(body), &a) == nil && a.App == app
	})
}
