package trace_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"mizzen.dev/mizzen/internal/traffic/trace"
)

const service = `apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: shop}
spec: {selector: {app: NAME}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: shop}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: a}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: NAME, namespace: shop}
spec:
  hosts: [NAME]
  http:
  - match: [{uri: {prefix: /a}}]
    route: [{destination: {host: NAME}}]
  - route: [{destination: {host: NAME}}]
    timeout: 2s
`

// BenchmarkTrace follows a request through a mesh that is compiled; the second
// question is of a host that does not exist, for which all names are compared.
func BenchmarkTrace(b *testing.B) {
	for _, n := range []int{10, 300} {
		files := fstest.MapFS{}
		for i := range n {
			name := fmt.Sprintf("s%d", i)
			files[name+".yaml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(service, "NAME", name))}
		}
		mesh := compiled(b, files)
		for name, host := range map[string]string{"known": "s1", "unknown": "t1"} {
			b.Run(fmt.Sprintf("services=%d/host=%s", n, name), func(b *testing.B) {
				for b.Loop() {
					_, err := trace.Trace(mesh, trace.Question{From: "shop/s0", URL: "http://" + host + "/b"})
					if (err == nil) != (name == "known") {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
