package lint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/meshtest"
)

var demo = filepath.Join("..", "..", "lab", "demo", "repo")

// The demo is what people copy from: it has no Findings, but for the kind
// whose definition is missing on purpose.
func TestDemo(t *testing.T) {
	overlays, err := filepath.Glob(filepath.Join(demo, "services", "*", "overlays", "*"))
	if err != nil || len(overlays) < 10 {
		t.Fatalf("overlays = %v, %v", overlays, err)
	}
	for _, dir := range append(overlays, filepath.Join(demo, "monitoring"), filepath.Join(demo, "tracing")) {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := built.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		clean(t, dir, meshtest.Objects(t, string(b)))
	}
	mesh, err := filepath.Glob(filepath.Join(demo, "mesh", "*.yaml"))
	if err != nil || len(mesh) == 0 {
		t.Fatalf("mesh = %v, %v", mesh, err)
	}
	for _, dir := range []string{"telemetry", "load", "gateway-api/routes", "examples/waypoint"} {
		files, err := filepath.Glob(filepath.Join(demo, dir, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s = %v, %v", dir, files, err)
		}
		mesh = append(mesh, files...)
	}
	for _, file := range append(mesh, filepath.Join(demo, "bootstrap.yaml")) {
		clean(t, file, read(t, file))
	}
	for _, nodes := range []string{"kwok", "live"} {
		clean(t, "apps for "+nodes, apps(t, map[string]any{"nodes": nodes, "cluster": "other"}))
	}
	clean(t, "apps with everything", apps(t, map[string]any{
		"nodes": "live", "tracing": true, "ambient": true, "revisions": []any{"default", "canary"},
	}))
}

// What is applied by hand is what the Application of all Applications keeps.
func TestBootstrap(t *testing.T) {
	kept := map[mizzen.Ref]map[string]any{}
	for _, o := range apps(t, nil) {
		kept[o.Ref()] = o.Object
	}
	for _, o := range read(t, filepath.Join(demo, "bootstrap.yaml")) {
		if diff := cmp.Diff(o.Object, kept[o.Ref()]); diff != "" {
			t.Errorf("%s (-bootstrap.yaml +apps):\n%s", o.Ref(), diff)
		}
	}
}

func read(t *testing.T, file string) []mizzen.Object {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return meshtest.Objects(t, string(b))
}

func clean(t *testing.T, what string, objects []mizzen.Object) {
	t.Helper()
	if len(objects) == 0 {
		t.Errorf("%s: nothing is rendered", what)
	}
	findings, err := lint.Check(t.Context(), objects, lint.Offline())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Ref.Kind != "ServiceMonitor" || f.Code != mizzen.CodeUnknownKind || f.Severity != mizzen.Info {
			t.Errorf("%s: %s: %s", what, f.Ref, f.Message)
		}
	}
}

// apps renders the chart of Applications.
func apps(t *testing.T, values map[string]any) []mizzen.Object {
	t.Helper()
	chart, err := loader.Load(filepath.Join(demo, "apps"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "apps", Namespace: mizzen.SystemNamespace}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	var objects []mizzen.Object
	for name, content := range files {
		if strings.HasSuffix(name, ".yaml") {
			objects = append(objects, meshtest.Objects(t, content)...)
		}
	}
	mizzen.SortObjects(objects)
	return objects
}
