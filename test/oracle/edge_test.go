package oracle

import (
	"os"
	"testing"

	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// TestEdgeProfile asks a gateway that istiod hardens for the edge of a mesh what
// it answers itself.
func TestEdgeProfile(t *testing.T) {
	text, err := os.ReadFile("testdata/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		path, header, value string
		http2               bool
		status              int
	}{
		{path: "/api/x", status: 200},
		{path: "/api%2fx", status: 307},
		{path: "/api%2fx", http2: true, status: 307},
		{path: "/api%2fx", header: "content-type", value: "application/grpc", status: 200}, // and grpc-status 13
		{path: "/api/x", header: "x_user", value: "1", status: 400},
		{path: "/api/x", header: "upgrade", value: "websocket", status: 101},
		{path: "/api/x", header: "upgrade", value: "foo", status: 403},
		{path: "/nowhere", header: "upgrade", value: "foo", status: 404},
		{path: "/api/x", header: "upgrade", value: "h2c", status: 200},
	}
	var calls []generate.Call
	for _, c := range cases {
		r := generate.Request{Path: c.path, Host: "example.com", HTTP2: c.http2}
		if c.header != "" {
			r.Header = append(r.Header, [2]string{c.header, c.value})
		}
		if c.header == "upgrade" {
			r.Header = append(r.Header, [2]string{"connection", "upgrade"})
		}
		calls = append(calls, plain(8080, r))
	}
	mesh := compiled(t, generate.Mesh{Objects: string(text), MeshConfig: "defaultConfig: {connectionSettings: {profile: EDGE}}"})
	for _, c := range sides(mesh, "edge") {
		if c.side != runnable.Gateway {
			continue
		}
		x, err := newBench(t).Start(t.Context(), c.proxy, c.side, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		i := 0
		if err := x.Call(t.Context(), calls, func(a trial.CallAsked) {
			if !a.Agree() || a.Observed.Status != cases[i].status {
				t.Errorf("%s: status %d, want %d", a, a.Observed.Status, cases[i].status)
			}
			i++
		}); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no gateway")
}
