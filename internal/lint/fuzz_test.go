package lint_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/meshtest"
)

// FuzzCheck: whatever the objects, a check ends without a panic, changes
// nothing, and says the same twice.
func FuzzCheck(f *testing.F) {
	for _, o := range corpus(f, "*.yaml") {
		b, err := json.Marshal(o.Object)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var object map[string]any
		if utiljson.Unmarshal(b, &object) != nil || object == nil {
			return
		}
		judgeTwice(t, object)
	})
}

// FuzzDefinition does the same with the schema of a definition.
func FuzzDefinition(f *testing.F) {
	crd := meshtest.Objects(f, widget)[0]
	version := crd.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
	b, err := json.Marshal(version["schema"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, []byte(`{"size": 4, "port": "http"}`))
	f.Add([]byte(`{"openAPIV3Schema": {"$ref": "a", "allOf": [{"$ref": "com.example.v1.Widget"}]}}`), []byte(`{}`))
	f.Add([]byte(`{"openAPIV3Schema": {"properties": {"metadata": {"allOf": [{"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]}}}}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, b, spec []byte) {
		var s, v any
		if utiljson.Unmarshal(b, &s) != nil || utiljson.Unmarshal(spec, &v) != nil {
			return
		}
		definition := crd.DeepCopy()
		definition.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)["schema"] = s
		widget := map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w"}, "spec": v}
		judgeTwice(t, definition.Object, widget)
		// A definition of somebody must not weaken what is built in.
		bad := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c", "bogus": "x"}}
		if mizzen.Worst(check(t, lint.Offline(), bad)) != mizzen.Fatal {
			t.Fatal("an unknown field of the metadata is accepted")
		}
	})
}

func judgeTwice(t *testing.T, all ...map[string]any) {
	t.Helper()
	var objects, copies []mizzen.Object
	for _, o := range all {
		objects = append(objects, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: o}})
		copies = append(copies, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: runtime.DeepCopyJSON(o)}})
	}
	first, err := lint.Check(t.Context(), objects, lint.Offline())
	if err != nil {
		t.Fatal(err)
	}
	second, err := lint.Check(t.Context(), copies, lint.Offline())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(objects, copies); diff != "" {
		t.Errorf("the check changed an object:\n%s", diff)
	}
}
