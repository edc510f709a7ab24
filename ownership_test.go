package mizzen

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func ownership(t *testing.T, fields string) Ownership {
	t.Helper()
	o, ok := OwnershipOf(metav1.ManagedFieldsEntry{Manager: "m", FieldsV1: metav1.NewFieldsV1(fields)})
	if !ok {
		t.Fatalf("cannot read %s", fields)
	}
	return o
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

const (
	podFields = `{"f:metadata":{"f:labels":{"f:a.b/c":{}}},"f:spec":{"f:replicas":{},"f:selector":{},
		"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:image":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{}}}}},
		"f:finalizers":{"v:\"x\"":{}},"f:gone":{}}}`
	pod = `{"metadata":{"labels":{"a.b/c":"d"}},"spec":{"replicas":3,"selector":{"x":{"y":1}},"finalizers":["w","x"],
		"containers":[{"name":"proxy","image":"p"},{"name":"app","image":"a","ports":[{"containerPort":80}]}]}}`
)

func TestOwnershipPaths(t *testing.T) {
	want := []Path{
		`metadata.labels["a.b/c"]`, "spec.containers[1].image", "spec.containers[1].ports[0]",
		"spec.finalizers[1]", "spec.replicas", "spec.selector",
	}
	if d := cmp.Diff(want, ownership(t, podFields).Paths(object(t, pod))); d != "" {
		t.Error(d)
	}
}

func TestOwnershipWithout(t *testing.T) {
	o := ownership(t, podFields).Without(object(t, pod), "spec.replicas", "spec.containers[1].ports[0]", "spec.finalizers[1]")
	var got map[string]any
	if err := json.Unmarshal(o.FieldsV1().GetRawBytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"f:metadata": map[string]any{"f:labels": map[string]any{"f:a.b/c": map[string]any{}}},
		"f:spec": map[string]any{
			"f:selector": map[string]any{}, "f:gone": map[string]any{},
			"f:containers": map[string]any{`k:{"name":"app"}`: map[string]any{".": map[string]any{}, "f:image": map[string]any{}}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if all := ownership(t, `{"f:spec":{"f:a":{}}}`).Without(object(t, `{"spec":{"a":1}}`), "spec.a"); all.FieldsV1() != nil {
		t.Errorf("an empty set is %s", all.FieldsV1().GetRawString())
	}
}

func TestOwnershipWith(t *testing.T) {
	ours := ownership(t, `{"f:spec":{"f:replicas":{},"f:containers":{"k:{\"name\":\"gone\"}":{".":{}}}}}`)
	theirs := ownership(t, podFields)
	got := ours.With(theirs, object(t, pod), "spec.containers[1]").FieldsV1().GetRawString()
	want := `{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:image":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{}}}},` +
		`"k:{\"name\":\"gone\"}":{".":{}}},"f:replicas":{}}}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(ours.FieldsV1().GetRawString(), ours.With(theirs, object(t, pod)).FieldsV1().GetRawString()); d != "" {
		t.Errorf("without a path: %s", d)
	}
}

func TestOwnershipMissing(t *testing.T) {
	desired := object(t, `{"spec":{"selector":{"x":{"y":2}},"finalizers":["x"],"containers":[{"name":"app"}]},"metadata":{}}`)
	got := maps.Collect(ownership(t, podFields).Missing(object(t, pod).Object, desired.Object))
	want := []Path{"metadata.labels", "spec.containers[1].image", "spec.containers[1].ports", "spec.replicas"}
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(got))); d != "" {
		t.Error(d)
	}
	if got["spec.replicas"] != 3.0 {
		t.Errorf("value: %v", got["spec.replicas"])
	}
}

func FuzzOwnership(f *testing.F) {
	f.Add(podFields, pod)
	f.Add(`{"k:{":{},"i:x":{},"v:":{"f:":{}},"f:a":1}`, `{"a":[[]],"":{"":[1]}}`)
	f.Fuzz(func(_ *testing.T, fields, object string) {
		o, ok := OwnershipOf(metav1.ManagedFieldsEntry{FieldsV1: metav1.NewFieldsV1(fields)})
		u := &unstructured.Unstructured{}
		if !ok || json.Unmarshal([]byte(object), &u.Object) != nil {
			return
		}
		paths := o.Paths(u)
		o.Without(u, paths...).FieldsV1()
		o.With(o, u, paths...).FieldsV1()
		for range o.Missing(u.Object, map[string]any{}) {
			break
		}
	})
}

func TestPathSteps(t *testing.T) {
	key := func(s string) Step { return Step{Key: s, Index: -1} }
	for p, want := range map[Path][]Step{
		"":                         nil,
		"spec.http[0].route[12].a": {key("spec"), key("http"), {Index: 0}, key("route"), {Index: 12}, key("a")},
		`a["b.c"]["]"].d`:          {key("a"), key("b.c"), key("]"), key("d")},
		`["\"quoted\""]`:           {key(`"quoted"`)},
		`a[`:                       {key("a")},
		`a[-1].b`:                  {key("a")},
		`a..b`:                     {key("a")},
		`a["b`:                     {key("a")},
	} {
		if d := cmp.Diff(want, p.Steps()); d != "" {
			t.Errorf("%s: %s", p, d)
		}
	}
	u := object(t, pod)
	if v, ok := Path("spec.containers[1].ports[0].containerPort").Lookup(u.Object); !ok || v != 80.0 {
		t.Errorf("lookup: %v, %v", v, ok)
	}
	for _, p := range []Path{"spec.containers[2]", "spec.replicas.x", "spec.containers.name", "nothing"} {
		if v, ok := p.Lookup(u.Object); ok {
			t.Errorf("%s: %v", p, v)
		}
	}
	if ComparePaths("a[2]", "a[10]") >= 0 || ComparePaths("a", "a.b") >= 0 || ComparePaths("a.b", "a.b") != 0 {
		t.Error("wrong order")
	}
}

func FuzzPathSteps(f *testing.F) {
	f.Add("a.b", 3, `x"]`)
	f.Fuzz(func(t *testing.T, a string, i int, b string) {
		if i < 0 || a == "" || b == "" {
			return
		}
		want := []Step{{Key: a, Index: -1}, {Index: i}, {Key: b, Index: -1}}
		if d := cmp.Diff(want, Path("").Key(a).Index(i).Key(b).Steps()); d != "" {
			t.Error(d)
		}
	})
}

func TestChangeText(t *testing.T) {
	c := Change{
		Ref: Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}, Action: Update,
		Fields: []FieldChange{
			{Path: "spec.replicas", Before: int64(2), After: int64(3)},
			{Path: "spec.paused", After: true},
			{Path: "spec.note", Before: "a\x1b[31m\nb" + string(make([]rune, 60))},
			{Path: "spec.more", After: "x"},
		},
		Release: []Path{"spec.size"},
	}
	want := "update apps/Deployment shop/web: spec.replicas 2 → 3, +spec.paused true, -spec.note a [31m b"
	got := c.String()
	if len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("got  %q\nwant %q…", got, want)
	}
	const end = "…, and 1 more, spec.size handed over"
	if got[len(got)-len(end):] != end {
		t.Errorf("ends %q", got)
	}
	if got := (FieldChange{Path: "a", Before: "", After: "x"}).String(); got != `a "" → x` {
		t.Errorf("empty value: %s", got)
	}
}
