package lint_test

import (
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/meshtest"
)

// BenchmarkCheck says how many objects are checked in a second once their
// schemas are compiled.
func BenchmarkCheck(b *testing.B) {
	small := meshtest.Objects(b, `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {a: b, c: d}
`)
	for name, objects := range map[string][]mizzen.Object{
		"ConfigMap": small, "Workloads": corpus(b, "workloads.yaml"), "Mesh": corpus(b, "mesh.yaml"), "Cluster": corpus(b, "cluster.yaml"),
	} {
		b.Run(name, func(b *testing.B) {
			if f, err := lint.Check(b.Context(), objects, lint.Offline()); err != nil || len(f) > 0 {
				b.Fatal(f, err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := lint.Check(b.Context(), objects, lint.Offline()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(objects))*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
