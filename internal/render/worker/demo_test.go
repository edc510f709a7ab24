package worker_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/worker"
)

// Of every field that the demo renders it is counted whether its line is known,
// or only its file, so that an origin that gets lost is noticed.
func TestOriginsOfTheDemo(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("../../../bin/lab", "demo", "--write", dir).CombinedOutput(); err != nil {
		t.Fatalf("bin/lab (built by 'make lab'): %v: %s", err, out)
	}
	var got strings.Builder
	fmt.Fprintf(&got, "%-36s %8s %8s %8s\n", "path", "fields", "line", "key")
	for _, path := range demoPaths(t, dir) {
		o := render.Options{Path: path, Namespace: "shop", ReleaseName: filepath.Base(path), FieldOrigins: true}
		renderer, err := render.Detect(os.DirFS(dir), path)
		if err != nil {
			t.Fatal(err)
		}
		out, err := worker.Renderers()[renderer](t.Context(), os.DirFS(dir), o)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var fields, lines, keys int
		for _, object := range out.Objects {
			eachField(object.Object, "", func(p mizzen.Path) {
				fields++
				at := object.Origins.Of(p)
				if at.Line > 0 {
					lines++
				}
				if at.Key != "" {
					keys++
				}
				if at.File == "" {
					t.Errorf("%s: %s of %s has no file", path, p, object.Ref())
				}
			})
		}
		fmt.Fprintf(&got, "%-36s %8d %8d %8d\n", path, fields, lines, keys)
	}
	golden := filepath.Join("testdata", "demo-origins.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("origins of the demo (-want +got); UPDATE_GOLDEN=1 accepts them:\n%s", diff)
	}
}

// demoPaths are the directories that the demo's Applications sync.
func demoPaths(t *testing.T, dir string) []string {
	t.Helper()
	paths := []string{
		"apps", "helm-charts/istio-base", "helm-charts/istiod", "helm-charts/gateway", "mesh",
		"gateway-api/routes", "telemetry", "monitoring", "load", "tracing", "examples/waypoint",
	}
	overlays, err := filepath.Glob(filepath.Join(dir, "services", "*", "overlays", "*"))
	if err != nil || len(overlays) == 0 {
		t.Fatalf("the demo has no overlays: %v", err)
	}
	for _, o := range overlays {
		rel, err := filepath.Rel(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.ToSlash(rel))
	}
	return paths
}

// eachField visits the leaves of an object.
func eachField(v any, at mizzen.Path, visit func(mizzen.Path)) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			eachField(item, at.Key(key), visit)
		}
	case []any:
		for i, item := range v {
			eachField(item, at.Index(i), visit)
		}
	default:
		visit(at)
	}
}
