package mizzen

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRefRoundTrip(t *testing.T) {
	for want, r := range map[string]Ref{
		"apps/Deployment shop/web":                       {Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"},
		"ConfigMap shop/web":                             {Kind: "ConfigMap", Namespace: "shop", Name: "web"},
		"Namespace shop":                                 {Kind: "Namespace", Name: "shop"},
		"rbac.authorization.k8s.io/ClusterRole system:x": {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "system:x"},
	} {
		if got := r.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
		back, ok := ParseRef(want)
		if !ok || back != r {
			t.Errorf("ParseRef(%q) = %v, %v", want, back, ok)
		}
	}
	for _, bad := range []string{"", "Pod", "Pod ", " x", "Pod a b", "/Pod", "Pod a/"} {
		if r, ok := ParseRef(bad); ok && bad != "/Pod x" {
			t.Errorf("ParseRef(%q) = %v, want refusal", bad, r)
		}
	}
}

func TestPath(t *testing.T) {
	p := Path("").Key("spec").Key("http").Index(0).Key("route").Index(1).Key("weight")
	if p != "spec.http[0].route[1].weight" {
		t.Errorf("path is %s", p)
	}
	label := Path("").Key("metadata").Key("labels").Key(`a.b/c"]["x`)
	var up []Path
	for q := label; q != ""; q = q.Parent() {
		up = append(up, q)
	}
	want := []Path{`metadata.labels["a.b/c\"][\"x"]`, "metadata.labels", "metadata"}
	if diff := cmp.Diff(want, up); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}
	if got := p.Parent().Parent(); got != "spec.http[0].route" {
		t.Errorf("grandparent is %s", got)
	}
}

func TestOriginsOf(t *testing.T) {
	o := Origins{
		Object: Origin{File: "a.yaml", Line: 1},
		Fields: map[Path]Origin{"spec.replicas": {File: "a.yaml", Line: 7}, "spec.template": {File: "b.yaml", Line: 3}},
	}
	for p, want := range map[Path]string{
		"spec.replicas":           "a.yaml:7",
		"spec.template.spec.x[0]": "b.yaml",
		"metadata.name":           "a.yaml",
	} {
		if got := o.Of(p).String(); got != want {
			t.Errorf("Of(%s) = %s, want %s", p, got, want)
		}
	}
}

func TestDigest(t *testing.T) {
	plan := func(change func(*Plan)) string {
		p := &Plan{
			Application: Name{"ns", "app"}, Cluster: "in-cluster",
			Changes: []Change{
				{Ref: Ref{Kind: "ConfigMap", Namespace: "ns", Name: "b"}, Action: Update, Fields: []FieldChange{{Path: "data.x", Before: "1", After: "2"}}},
				{Ref: Ref{Kind: "ConfigMap", Namespace: "ns", Name: "a"}, Action: Create, Content: "c1"},
			},
		}
		if change != nil {
			change(p)
		}
		return p.ComputeDigest()
	}
	base := plan(nil)
	same := map[string]func(*Plan){
		"commit":       func(p *Plan) { p.Commit.ID = "other" },
		"origin":       func(p *Plan) { p.Changes[0].Origin.File = "x" },
		"order":        func(p *Plan) { p.Changes[0], p.Changes[1] = p.Changes[1], p.Changes[0] },
		"not verified": func(p *Plan) { p.Changes[0].NotVerified = "x" },
		"skip":         func(p *Plan) { p.Changes = append(p.Changes, Change{Ref: Ref{Kind: "X", Name: "x"}, Action: Skip}) },
	}
	for name, f := range same {
		if plan(f) != base {
			t.Errorf("%s counts in the digest", name)
		}
	}
	differs := map[string]func(*Plan){
		"application": func(p *Plan) { p.Application.Name = "x" },
		"cluster":     func(p *Plan) { p.Cluster = "x" },
		"action":      func(p *Plan) { p.Changes[0].Action = Delete },
		"before":      func(p *Plan) { p.Changes[0].Fields[0].Before = "0" },
		"after":       func(p *Plan) { p.Changes[0].Fields[0].After = 2 },
		"content":     func(p *Plan) { p.Changes[1].Content = "c2" },
	}
	for name, f := range differs {
		if plan(f) == base {
			t.Errorf("%s does not count in the digest", name)
		}
	}
}

func TestDeleted(t *testing.T) {
	ref := func(name string) Ref { return Ref{Kind: "Service", Namespace: "shop", Name: name} }
	p := &Plan{Changes: []Change{{Ref: ref("kept"), Action: Keep}, {Ref: ref("gone"), Action: Delete}, {Ref: ref("new"), Action: Create}}}
	if got := p.Deleted(); len(got) != 1 || got[0] != ref("gone") {
		t.Errorf("%v", got)
	}
}
