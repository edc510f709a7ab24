package mesh

import "strings"

// equalWaypoints holds what Mizzen compiles offline to what the live istiod
// sends to waypoints: to that of the example, which runs, and to those of the
// scenarios in testdata/waypoint, whose pods do not.
func (m *team) equalWaypoints() {
	m.Helper()
	scenarios := m.scenarios("waypoint", scenarioFiles(m.T, "testdata/waypoint", ambientBase()))
	for ns := range scenarios {
		m.kubectl("rollout", "status", "-n", ns, "deployments", "--selector=gateway.networking.k8s.io/gateway-name", "--timeout=2m")
	}
	if n := m.equal(scenarios); n < 9+len(scenarios) {
		m.Errorf("%d workloads were compared, of the shop, its waypoint and %d scenarios", n, len(scenarios))
	}
}

// ambientBase is in the namespace of each scenario: a caller and two versions of
// a server of the ambient mesh, and what puts the pods of a waypoint on a node
// on which they do not run. Their annotation is what Istio's CNI plugin writes
// when it has led a pod's traffic to a ztunnel.
func ambientBase() string {
	out := ""
	for _, w := range []string{"caller v1", "server v1", "server v2"} {
		app, version, _ := strings.Cut(w, " ")
		deployment := simulated(workload(app, version, "false"))
		out += strings.Replace(deployment, "    metadata: {labels: {",
			"    metadata: {annotations: {ambient.istio.io/redirection: enabled}, labels: {istio.io/dataplane-mode: ambient, ", 1)
	}
	return out + service("caller") + `
---
apiVersion: v1
kind: ConfigMap
metadata: {name: simulated}
data:
  deployment: |
    spec:
      template:
        spec:
          nodeSelector: {type: kwok}
          tolerations: [{operator: Exists}]
`
}
