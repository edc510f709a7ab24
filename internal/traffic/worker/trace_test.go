package worker_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/plain"
	"mizzen.dev/mizzen/internal/traffic/trace"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

// TestMain lets the test binary be its own traffic worker, as mizzen is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Command {
		os.Exit(worker.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

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

// services are a mesh of n services.
func services(t testing.TB, n int) []mizzen.Object {
	t.Helper()
	files := fstest.MapFS{}
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		files[name+".yaml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(service, "NAME", name))}
	}
	out, err := plain.Render(t.Context(), files, render.Options{Path: ".", FieldOrigins: true})
	if err != nil {
		t.Fatal(err)
	}
	return out.Objects
}

func TestTrace(t *testing.T) {
	var client worker.Client
	defer client.Close()
	mesh, err := client.Mesh(services(t, 2), "")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := mesh.Trace(t.Context(), trace.Question{From: "shop/s0", URL: "http://s1/b"})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Hops[0].Rule.Origin.String(); answer.Fate != mizzen.FateServed || got != "s1.yaml:23" {
		t.Errorf("%s by %s", answer.Fate, got)
	}
	// A question without an answer leaves the worker as it is.
	_, err = mesh.Trace(t.Context(), trace.Question{From: "shop/s9", URL: "http://s1/b"})
	var known *mizzen.Error
	if !errors.As(err, &known) || known.Kind != mizzen.NotFound || !strings.Contains(known.Remedy, "shop/s0") {
		t.Error(err)
	}
	closed := "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
	if mesh, err = client.Mesh(services(t, 2), closed); err != nil {
		t.Fatal(err)
	}
	answer, err = mesh.Trace(t.Context(), trace.Question{From: "shop/s0", URL: "http://example.org/"})
	if err != nil || answer.Fate != mizzen.FateFails || answer.Outcomes[0].Status != 502 {
		t.Errorf("%+v, %v", answer, err)
	}
}

// BenchmarkTrace asks a worker that has the mesh: a job and its answer by pipe.
func BenchmarkTrace(b *testing.B) {
	for _, n := range []int{10, 100, 300} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			var client worker.Client
			defer client.Close()
			mesh, err := client.Mesh(services(b, n), "")
			if err != nil {
				b.Fatal(err)
			}
			q := trace.Question{From: "shop/s0", URL: "http://s1/b"}
			if _, err := mesh.Trace(b.Context(), q); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := mesh.Trace(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
