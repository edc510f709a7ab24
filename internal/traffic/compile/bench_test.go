package compile_test

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// city returns n services with a Deployment, a VirtualService and a
// DestinationRule each, ten to a namespace.
func city(n int) []mizzen.Object {
	var out []mizzen.Object
	add := func(apiVersion, kind, ns, name string, spec map[string]any) {
		out = append(out, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": ns, "name": name}, "spec": spec,
		}}})
	}
	for i := range n {
		ns, name := fmt.Sprintf("team-%d", i/10), fmt.Sprintf("svc-%d", i)
		labels := map[string]any{"app": name, "version": "v1"}
		add("v1", "Service", ns, name, map[string]any{
			"selector": map[string]any{"app": name}, "ports": []any{map[string]any{"name": "http", "port": int64(80), "targetPort": int64(8080)}},
		})
		add("apps/v1", "Deployment", ns, name, map[string]any{
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{"name": "app"}}}},
		})
		add("networking.istio.io/v1", "DestinationRule", ns, name, map[string]any{
			"host": name, "subsets": []any{map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}}},
		})
		add("networking.istio.io/v1", "VirtualService", ns, name, map[string]any{
			"hosts": []any{name}, "http": []any{map[string]any{"route": []any{
				map[string]any{"destination": map[string]any{"host": name, "subset": "v1"}, "weight": int64(90)},
				map[string]any{"destination": map[string]any{"host": name}, "weight": int64(10)},
			}}},
		})
	}
	return out
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		objects := city(n)
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compile.Compile(b.Context(), objects, compile.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One weight changed among a thousand services.
func BenchmarkSlice(b *testing.B) {
	objects := city(1000)
	changed := objects[2003:2004] // a VirtualService
	unchanged := slices.Concat(objects[:2003], objects[2004:])
	for b.Loop() {
		slice, _ := compile.Slice(unchanged, changed, compile.DefaultRoot)
		slice = append(slice, changed...)
		if _, err := compile.Compile(b.Context(), slice, compile.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
