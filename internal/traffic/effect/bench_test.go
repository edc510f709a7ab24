package effect_test

import (
	"fmt"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
)

// manyServices writes a mesh of n services, of which the first sends the given
// share to v1. Only some have a sidecar: what is measured is the comparison, and
// compiling a thousand proxies takes long.
func manyServices(n, weight int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n")
	for i := range n {
		w, inject := 90, i%50 == 0
		if i == 0 {
			w = weight
			b.WriteString(deployment(0, "v2", true))
		}
		b.WriteString(deployment(i, "v1", inject))
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Service
metadata: {name: s%[1]d, namespace: shop}
spec: {selector: {app: s%[1]d}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: s%[1]d, namespace: shop}
spec: {hosts: [s%[1]d], http: [{route: [{destination: {host: s%[1]d, subset: v1}, weight: %[2]d}, {destination: {host: s%[1]d, subset: v2}, weight: %[3]d}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s%[1]d, namespace: shop}
spec: {host: s%[1]d, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
`, i, w, 100-w)
	}
	return []byte(b.String())
}

func deployment(i int, version string, inject bool) string {
	return fmt.Sprintf(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: s%[1]d-%[2]s, namespace: shop}
spec:
  selector: {matchLabels: {app: s%[1]d, version: %[2]s}}
  template:
    metadata: {labels: {app: s%[1]d, version: %[2]s, sidecar.istio.io/inject: '%[3]v'}}
    spec: {containers: [{name: c, image: x}]}
`, i, version, inject)
}

func BenchmarkOneWeightAmong(b *testing.B) {
	for _, n := range []int{50, 200, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var meshes [2]*traffic.Mesh
			var sides [2][]mizzen.Object
			for i, weight := range []int{90, 50} {
				sides[i] = objects(b, "mesh.yaml", manyServices(n, weight))
				var err error
				if meshes[i], err = compile.Compile(b.Context(), sides[i], compile.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				got := effect.Compare(meshes[0], meshes[1], effect.Options{Before: sides[0], After: sides[1]})
				if len(got) != 1 || got[0].Code != mizzen.EffectWeights {
					b.Fatalf("%d effects: %v", len(got), got)
				}
			}
		})
	}
}

// manyRules writes a policy of n rules for one of 200 services with identities of
// their own; first is the path of the first rule.
func manyRules(n int, first string) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n")
	for i := range 200 {
		b.WriteString(strings.Replace(deployment(i, "v1", true), "spec: {containers", fmt.Sprintf("spec: {serviceAccountName: s%d, containers", i), 1))
	}
	b.WriteString(`---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: s0, namespace: shop}
spec:
  selector: {matchLabels: {app: s0}}
  rules:
`)
	for i := range n {
		path := fmt.Sprintf("/p%d", i)
		if i == 0 {
			path = first
		}
		fmt.Fprintf(&b, "  - {from: [{source: {principals: [cluster.local/ns/shop/sa/s%d]}}], to: [{operation: {paths: [%s]}}]}\n", i, path)
	}
	return []byte(b.String())
}

// BenchmarkManyRules is the cost of the matrix of who may do what, at the bounds
// of callers and requests.
func BenchmarkManyRules(b *testing.B) {
	for _, n := range []int{10, 30, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var meshes [2]*traffic.Mesh
			var sides [2][]mizzen.Object
			for i, path := range []string{"/a", "/b"} {
				sides[i] = objects(b, "mesh.yaml", manyRules(n, path))
				meshes[i] = mesh(b, sides[i])
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := effect.Compare(meshes[0], meshes[1], effect.Options{Before: sides[0], After: sides[1]}); len(got) == 0 {
					b.Fatal("nothing is told")
				}
			}
		})
	}
}
