package controller

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What an older or a newer definition lacks is named, whatever part it is in.
func TestMissing(t *testing.T) {
	all, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	var apps *unstructured.Unstructured
	for _, d := range all {
		if missing(d, d) != nil {
			t.Errorf("%s lacks something of itself: %v", d.GetName(), missing(d, d))
		}
		if strings.HasPrefix(d.GetName(), "applications.") {
			apps = d
		}
	}
	const sync, kustomize = "properties.spec.properties.sync.properties", "properties.spec.properties.source.properties.kustomize.properties"
	cases := []struct {
		name string
		edit func(t *testing.T, schema map[string]any)
		want []string
	}{
		{"a field", func(t *testing.T, s map[string]any) { drop(t, s, sync+".gate") }, []string{"spec.sync.gate"}},
		{"a part with all that is in it", func(t *testing.T, s map[string]any) { drop(t, s, "properties.spec.properties.hold") }, []string{"spec.hold"}},
		{"an element of a list", func(t *testing.T, s map[string]any) {
			drop(t, s, "properties.status.properties.history.items.properties.note")
		}, []string{"status.history[].note"}},
		{"two", func(t *testing.T, s map[string]any) {
			drop(t, s, sync+".prune")
			drop(t, s, kustomize+".images")
		}, []string{"spec.source.kustomize.images", "spec.sync.prune"}},
		{"what keeps all", func(t *testing.T, s map[string]any) {
			spec, _, _ := unstructured.NestedMap(s, "properties", "spec")
			delete(spec, "properties")
			spec["x-kubernetes-preserve-unknown-fields"] = true
			if err := unstructured.SetNestedMap(s, spec, "properties", "spec"); err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for _, c := range cases {
		old := apps.DeepCopy()
		list, _, _ := unstructured.NestedSlice(old.Object, "spec", "versions")
		schema, _, _ := unstructured.NestedMap(list[0].(map[string]any), "schema", "openAPIV3Schema")
		c.edit(t, schema)
		list[0].(map[string]any)["schema"] = map[string]any{"openAPIV3Schema": schema}
		if err := unstructured.SetNestedSlice(old.Object, list, "spec", "versions"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, missing(apps, old)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	none := apps.DeepCopy()
	unstructured.RemoveNestedField(none.Object, "spec", "versions")
	if got := missing(apps, none); len(got) != 1 || got[0] != "version v1alpha1" {
		t.Errorf("without versions: %v", got)
	}
}

// drop removes a field that must be there.
func drop(t *testing.T, schema map[string]any, at string) {
	t.Helper()
	fields := strings.Split(at, ".")
	if _, found, err := unstructured.NestedFieldNoCopy(schema, fields...); !found || err != nil {
		t.Fatalf("the schema has no %s", at)
	}
	unstructured.RemoveNestedField(schema, fields...)
}
