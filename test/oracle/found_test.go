package oracle

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// start runs route configurations.
func start(t *testing.T, text string, changes ...map[string]any) *trial.Trial {
	t.Helper()
	x, err := newBench(t).Start(t.Context(), written(t, []byte(text), changes...), runnable.Outbound, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// plain is a call in plaintext to a port.
func plain(port int, r generate.Request) generate.Call {
	if r.Method == "" {
		r.Method = "GET"
	}
	return generate.Call{
		Caller:  generate.Caller{Trust: generate.Plaintext, Address: "10.244.0.99"},
		Request: r, Destination: fmt.Sprintf("10.99.0.1:%d", port),
	}
}

// TestFound asks what was a disagreement once.
func TestFound(t *testing.T) {
	text, err := os.ReadFile("testdata/found.yml")
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		Why, Method, Path, Host string
		Port                    int
		HTTP2                   bool
		Header                  map[string]string
	}
	if err := yaml.UnmarshalStrict(text, &found); err != nil {
		t.Fatal(err)
	}
	var calls []generate.Call
	for _, f := range found {
		r := generate.Request{Method: f.Method, Path: f.Path, Host: f.Host, HTTP2: f.HTTP2}
		for name, value := range f.Header {
			r.Header = append(r.Header, [2]string{name, value})
		}
		calls = append(calls, plain(f.Port, r))
	}
	routes, err := os.ReadFile("testdata/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	if err := start(t, string(routes)).Call(t.Context(), calls, func(a trial.CallAsked) {
		if !a.Agree() {
			t.Errorf("%s: %s", found[i].Why, a)
		}
		i++
	}); err != nil {
		t.Fatal(err)
	}
}

// TestShares mirrors a share of the requests: as many arrive as the percentage
// says, within six standard deviations.
func TestShares(t *testing.T) {
	const n, share = 2000, 0.3
	x := start(t, `[{name: shares, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {
		cluster: c1, request_mirror_policies: [{cluster: c2, runtime_fraction: {default_value: {numerator: 30}}}]}}]}]}]`)
	copies, err := x.Copies(t.Context(), plain(1001, generate.Request{Path: "/", Host: "a.example.com"}), n)
	if err != nil {
		t.Fatal(err)
	}
	if bound := 6 * math.Sqrt(n*share*(1-share)); math.Abs(float64(copies)-n*share) > bound {
		t.Errorf("%d of %d requests are mirrored, want %.0f ± %.0f", copies, n, n*share, bound)
	}
}

// TestRefused gives Envoy what it must refuse: a configuration that no Envoy
// runs is never taken for one that agrees.
func TestRefused(t *testing.T) {
	text := []byte(`[{name: bad, virtual_hosts: [{name: v, domains: ["a", "A"], routes: [{match: {prefix: /}, route: {cluster: c1}}]}]}]`)
	_, err := newBench(t).Start(t.Context(), written(t, text), runnable.Outbound, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "refuses") || !strings.Contains(err.Error(), "Only unique values for domains") {
		t.Errorf("got %v, want that Envoy refuses a domain that is there twice", err)
	}
}

// TestMissing says what to do where there is no Envoy.
func TestMissing(t *testing.T) {
	bench := newBench(t)
	bench.Binary = filepath.Join(t.TempDir(), "envoy")
	text := []byte(`[{name: good, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: c1}}]}]}]`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := bench.Start(ctx, written(t, text), runnable.Outbound, t.TempDir()); err == nil || !strings.Contains(err.Error(), "make lab") {
		t.Errorf("got %v, want an error that names make lab", err)
	}
}

// TestGenerated makes the same of the same seed, twice.
func TestGenerated(t *testing.T) {
	for name, make := range map[string]func(uint64, string) (generate.Mesh, error){"sidecars": generate.NewMesh, "ambient": generate.NewAmbientMesh} {
		for seed := range uint64(20) {
			a, err := make(seed, "{}")
			if err != nil {
				t.Fatal(err)
			}
			b, err := make(seed, "{}")
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Fatalf("seed %d makes two meshes (%s)", seed, name)
			}
		}
	}
}
