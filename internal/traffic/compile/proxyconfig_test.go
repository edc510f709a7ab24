package compile_test

import (
	"testing"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// gateways are two that differ in what their pods ask of their proxies alone.
const gateways = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: behind, namespace: edge}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata:
      labels: {istio: ingressgateway}
      annotations: {proxy.istio.io/config: "gatewayTopology: {numTrustedProxies: 2}"}
    spec: {containers: [{name: istio-proxy, image: auto, args: [proxy, router]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: open, namespace: edge}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template: {metadata: {labels: {istio: ingressgateway}}, spec: {containers: [{name: istio-proxy, image: auto, args: [proxy, router]}]}}
`

// TestProxyConfig: what a pod asks of its proxy is part of what istiod sends to
// it, and to no other.
func TestProxyConfig(t *testing.T) {
	mesh, err := compile.Compile(t.Context(), meshtest.Objects(t, gateways), compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint32{"edge/behind": 2, "edge/open": 0}
	for _, p := range mesh.Proxies {
		for _, l := range p.View().Inbound {
			for _, f := range l.FilterChains[0].Filters {
				manager := &hcmv3.HttpConnectionManager{}
				if f.GetTypedConfig().UnmarshalTo(manager) != nil {
					continue
				}
				if hops, ok := want[p.Name]; !ok || manager.XffNumTrustedHops != hops {
					t.Errorf("%s trusts %d proxies, want %d", p.Name, manager.XffNumTrustedHops, hops)
				}
				delete(want, p.Name)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("no connection manager of %v", want)
	}
}
