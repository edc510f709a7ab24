package compile_test

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// objects reads a file of manifests.
func objects(t testing.TB, file string) []mizzen.Object {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []mizzen.Object
	for _, doc := range strings.Split(string(b), "\n---\n") {
		var m map[string]any
		if err := yaml.Unmarshal([]byte(doc), &m); err != nil {
			t.Fatal(err)
		}
		if len(m) > 0 {
			out = append(out, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: m}})
		}
	}
	return out
}

func TestCompile(t *testing.T) {
	mesh, err := compile.Compile(t.Context(), objects(t, "testdata/shop.yaml"), compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(mesh.Proxies) != 3 || len(mesh.Rejected) != 0 {
		t.Fatalf("%d proxies, rejected %v", len(mesh.Proxies), mesh.Rejected)
	}
	web := mesh.Proxies[2]
	route := web.View.Routes["9080"].VirtualHosts[0].Routes[0]
	rule, ok := traffic.RuleOfRoute(route)
	want := traffic.Rule{
		Ref:  mizzen.Ref{Group: "networking.istio.io", Kind: "VirtualService", Namespace: "shop", Name: "reviews"},
		Path: "spec.http[0]",
	}
	if web.Name != "shop/web" || !ok || rule != want {
		t.Errorf("%s: %v, %v", web.Name, rule, ok)
	}
}
