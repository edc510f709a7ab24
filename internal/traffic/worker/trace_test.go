package worker_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
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

// services are a mesh of n services.
func services(t testing.TB, n int) []mizzen.Object {
	t.Helper()
	out, err := plain.Render(t.Context(), meshtest.City(n), render.Options{Path: ".", FieldOrigins: true})
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
	answer, err := mesh.Trace(t.Context(), trace.Question{From: "team-0/svc-0", URL: "http://svc-1/"})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Hops[0].Rule.Origin.String(); answer.Fate != mizzen.FateServed || got != "svc-1/service.yaml:26" {
		t.Errorf("%s by %s", answer.Fate, got)
	}
	// A question without an answer leaves the worker as it is.
	_, err = mesh.Trace(t.Context(), trace.Question{From: "team-0/svc-9", URL: "http://svc-1/"})
	var known *mizzen.Error
	if !errors.As(err, &known) || known.Kind != mizzen.NotFound || !strings.Contains(known.Remedy, "team-0/svc-0") {
		t.Error(err)
	}
	closed := "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
	if mesh, err = client.Mesh(services(t, 2), closed); err != nil {
		t.Fatal(err)
	}
	answer, err = mesh.Trace(t.Context(), trace.Question{From: "team-0/svc-0", URL: "http://example.org/"})
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
			q := trace.Question{From: "team-0/svc-0", URL: "http://svc-1/"}
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
