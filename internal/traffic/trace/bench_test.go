package trace_test

import (
	"fmt"
	"testing"

	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/trace"
)

// BenchmarkTrace follows a request through a mesh that is compiled; the second
// question is of a host that does not exist, for which all names are compared.
func BenchmarkTrace(b *testing.B) {
	for _, n := range []int{10, 300} {
		mesh := compiled(b, meshtest.City(n))
		for name, host := range map[string]string{"known": "svc-1", "unknown": "tvc-1"} {
			b.Run(fmt.Sprintf("services=%d/host=%s", n, name), func(b *testing.B) {
				for b.Loop() {
					_, err := trace.Trace(mesh, trace.Question{From: "team-0/svc-0", URL: "http://" + host + "/b"})
					if (err == nil) != (name == "known") {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
