package cli

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine"
)

// write fills a directory that is in no clone.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// tower is an application of applications, one of whose children is a chart.
var tower = map[string]string{
	"root.yaml":       "# all of it\napiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: root}\nspec: {source: {repository: r, path: apps}}\n",
	"apps/Chart.yaml": "apiVersion: v2\nname: apps\nversion: 1.0.0\n",
	"apps/templates/web.yaml": "apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: {{ .Values.name }}}\n" +
		"spec: {source: {repository: r, path: web, helm: {values: {size: 3}}}, destination: {namespace: shop}}\n",
	"apps/values.yaml":        "name: web\n",
	"web/Chart.yaml":          "apiVersion: v2\nname: web\nversion: 1.0.0\n",
	"web/values.yaml":         "size: 1\n",
	"web/prod.yaml":           "size: 5\n",
	"web/templates/set.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {size: \"{{ .Values.size }}\"}\n",
	"base/kustomization.yaml": "resources: [cm.yaml]\n",
	"base/cm.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: based}\n",
	"over/kustomization.yaml": "resources: [../base]\nnamePrefix: over-\n",
	"more/cm.json":            `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"plain"},"dta":{}}`,
}

func TestRenderOffline(t *testing.T) {
	t.Chdir(write(t, tower))
	t.Setenv("KUBECONFIG", "/no/such/file")
	mentions(t, must(t, ExitYes, "render web").out, "size: \"1\"", "name: web")
	mentions(t, must(t, ExitYes, "render web -f web/prod.yaml --release-name big").out, "size: \"5\"", "name: big")
	mentions(t, must(t, ExitYes, "render web -f prod.yaml").out, "size: \"5\"")
	mentions(t, must(t, ExitYes, "render over").out, "name: over-based")
	mentions(t, must(t, ExitYes, "render --application web").out, "size: \"3\"", "name: web")
	mentions(t, must(t, ExitYes, "render --application root.yaml -o name").out, "mizzen.dev/Application web")
	mentions(t, must(t, ExitYes, "render web --origins").out, "# from web/templates/set.yaml:1")
	mentions(t, must(t, ExitYes, "render web -o json --origins").out, `"kind": "List"`, `"schema": "mizzen.dev/render/v1"`, `"web/templates/set.yaml"`)
	mentions(t, must(t, ExitUnknown, "render --application nobody").err, "there are root, web")
	mentions(t, must(t, ExitUnknown, "render web --renderer jsonnet").err, "helm, kustomize, plain")
	mentions(t, must(t, ExitUnknown, "render web/prod.yaml").err, "it is a file")
	mentions(t, must(t, ExitUnknown, "render web -f ../../etc/passwd").err, "out of the repository")
}

func TestLintOffline(t *testing.T) {
	t.Chdir(write(t, tower))
	t.Setenv("KUBECONFIG", "/no/such/file")
	// The Applications decide what is rendered, so the directory beside them
	// is not looked at unless it is named.
	mentions(t, must(t, ExitYes, "lint").err, "2 objects in 2 paths", "0 errors")
	mentions(t, must(t, ExitNo, "lint more").out, "MZ2001 more/cm.json:1", "dta")
	mentions(t, must(t, ExitNo, "lint more web -o github").out, "::error file=more/cm.json,line=1,title=MZ2001")
	mentions(t, must(t, ExitNo, "lint more -o sarif").out, `"ruleId": "MZ2001"`)
	mentions(t, must(t, ExitYes, "lint web --fail-on info").err, "1 object in 1 path")
	mentions(t, must(t, ExitUnknown, "lint more --fail-on never").err, "error, warning, info")
	if err := os.WriteFile("web/templates/bad.yaml", []byte("{{ fail \"no\" }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := must(t, ExitNo, "lint web")
	mentions(t, got.out, "error MZ1007 web", "no")
	if strings.Contains(got.out, "\x1b") {
		t.Error("an escape sequence without a terminal")
	}
}

// shopping is a repository whose Applications make one mesh together.
var shopping = map[string]string{
	"apps.yaml": "apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec: {source: {repository: r, path: web}, destination: {namespace: shop}}\n---\n" +
		"apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: mesh}\nspec: {source: {repository: r, path: mesh}, destination: {namespace: shop}}\n---\n" +
		"apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: far}\nspec: {source: {repository: r, path: far}, destination: {cluster: far, namespace: shop}}\n",
	"web/web.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n",
	"far/far.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: wep}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n",
	"mesh/route.yaml": "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: web\n  annotations:\n    mizzen.dev/lint-ignore: IGNORE\n" +
		"spec:\n  hosts:\n  - wep\n  http:\n  - route:\n    - destination: {host: web}\n      weight: 99\n",
}

func TestLintTogether(t *testing.T) {
	t.Setenv("KUBECONFIG", "/no/such/file")
	repository := func(ignore string) {
		files := maps.Clone(shopping)
		files["mesh/route.yaml"] = strings.Replace(files["mesh/route.yaml"], "IGNORE", ignore, 1)
		t.Chdir(write(t, files))
	}
	repository(`"MZ4101: it is the only one"`)
	got := must(t, ExitNo, "lint --fail-on warning")
	mentions(t, got.out, "MZ4103 mesh/route.yaml:9", "no Service for the host wep.shop")
	mentions(t, got.err, "3 objects in 3 paths", "1 warning", "1 suppressed")
	mentions(t, must(t, ExitYes, "lint -o json").out, `"suppressed": 1`)
	// Of a part nothing is called missing.
	mentions(t, must(t, ExitYes, "lint mesh --fail-on info").err, "0 warnings, 0 notes; 1 suppressed")
	repository(`"MZ4101; MZ4103: it comes later"`)
	got = must(t, ExitNo, "lint --fail-on warning")
	mentions(t, got.out, "MZ4101 mesh/route.yaml:11", "MZ2012 mesh/route.yaml:6", "MZ4101 is ignored without a reason")
	mentions(t, got.err, "2 warnings", "1 suppressed")
}

type analyzer func([]mizzen.Object) ([]mizzen.Finding, error)

func (a analyzer) Analyze(_ context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	return a(objects)
}

// Istio's analyzers see all objects of a cluster at once, if there are any.
func TestLintAnalyzer(t *testing.T) {
	ours := mizzen.Finding{Code: "IST0101"}
	d := &desk{engine: &engine.Engine{Analyzer: analyzer(func(objects []mizzen.Object) ([]mizzen.Finding, error) {
		if len(objects) != 2 {
			return nil, errors.New("two were expected")
		}
		return []mizzen.Finding{ours}, nil
	})}}
	object := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{}}}
	j := &judged{objects: []mizzen.Object{object, object}}
	if err := d.lintTogether(t.Context(), j); err != nil || len(j.findings) != 1 {
		t.Errorf("%v, %v", j.findings, err)
	}
	if err := d.lintTogether(t.Context(), &judged{}); err == nil {
		t.Error("the analyzer's error is lost")
	}
}
