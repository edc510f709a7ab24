package compile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

func aging(kind, name, created string) mizzen.Object {
	metadata := map[string]any{"namespace": "shop", "name": name}
	if created != "" {
		metadata["creationTimestamp"] = created
	}
	return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": map[string]string{"VirtualService": "networking.istio.io/v1", "Deployment": "apps/v1"}[kind], "kind": kind, "metadata": metadata,
	}}}
}

// What a change brings is the youngest; what has an age keeps it, and no object
// of the caller's is touched.
func TestAges(t *testing.T) {
	const since = "2024-05-01T10:00:00Z"
	before := []mizzen.Object{aging("VirtualService", "old", "")}
	after := []mizzen.Object{
		aging("VirtualService", "old", ""), aging("VirtualService", "new", ""), aging("VirtualService", "live", since), aging("Deployment", "app", ""),
	}
	newcomers := Newcomers(before, after)
	if got := len(newcomers); got != 2 {
		t.Errorf("the newcomers are %v", newcomers)
	}
	var got []string
	for _, o := range rejuvenated(after, newcomers) {
		created, _, _ := unstructured.NestedString(o.Object, "metadata", "creationTimestamp")
		got = append(got, o.GetName()+" "+created)
	}
	want := []string{"old ", "new 9999-12-31T00:00:00Z", "live " + since, "app "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ages (-want +got):\n%s", diff)
	}
	if created := after[1].GetCreationTimestamp(); !created.IsZero() {
		t.Error("the caller's object is changed")
	}
}
