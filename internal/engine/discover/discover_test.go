package discover

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

const ours = "https://git.example/team/shop.git"

// tree is a repository with a chart, a kustomization and plain manifests.
var tree = memtree.Tree{
	"chart/Chart.yaml":          "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
	"chart/prod.yaml":           "a: 1\n",
	"env/prod.yaml":             "a: 2\n",
	"over/kustomization.yaml":   "resources: [cm.yaml]\nimages: [{name: web, newTag: \"1\"}]\n",
	"over/cm.yaml":              "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: over}\n",
	"plain/cm.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n",
	"plain/sub/cm.yaml":         "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\n",
	"flux/a.yaml":               "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
	"flux/k/kustomization.yaml": "resources: []\n",
	"flux/deep/b.yml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
}

const gitRepository = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: shop, namespace: flux-system}
spec: {url: "ssh://git@git.example/team/shop", ref: {branch: main}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: other, namespace: flux-system}
spec: {url: "https://git.example/team/other"}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: release, namespace: flux-system}
spec: {url: "https://git.example/team/shop", ref: {branch: main, tag: v1.2.3}}
`

func manifests(t *testing.T, text string) []Manifest {
	t.Helper()
	var all []Manifest
	for _, d := range documents([]byte(text)) {
		var object map[string]any
		if err := yaml.Unmarshal(d.text, &object); err != nil {
			t.Fatal(err)
		}
		all = append(all, Manifest{object, mizzen.Origin{File: "apps.yaml", Line: d.line}})
	}
	return all
}

// readOne reads the last of the manifests.
func readOne(t *testing.T, text string) (*Application, *Omitted) {
	t.Helper()
	c := NewCatalog(tree, []string{ours})
	all := manifests(t, gitRepository+"---\n"+text)
	for _, m := range all {
		c.Remember(m)
	}
	return c.Read(all[len(all)-1], "")
}

func argo(spec string) string {
	return "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: argocd}\nspec:\n  destination: {namespace: shop, server: 'https://kubernetes.default.svc'}\n" + indent(spec)
}

func flux(spec string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: web, namespace: flux-system}\nspec:\n" + indent(spec)
}

func release(spec string) string {
	return "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web, namespace: shop}\nspec:\n" + indent(spec)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

func TestReadApplications(t *testing.T) {
	argoHelm := render.Options{Path: "chart", Namespace: "shop", ReleaseName: "web", IsUpgrade: true}
	cases := map[string]struct {
		manifest string
		want     render.Options
	}{
		"mizzen": {
			"apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: m}\nspec: {source: {repository: r, path: ./chart/, helm: {values: {a: 1}}}, destination: {namespace: shop}}\n",
			render.Options{Path: "chart", Namespace: "shop", ReleaseName: "web", IsUpgrade: true, Values: map[string]any{"a": 1.0}},
		},
		"argo cd": {argo("source: {repoURL: " + ours + ", path: chart}"), argoHelm},
		"argo cd, values": {
			argo(`source: {repoURL: "git@git.example:team/shop", path: chart, targetRevision: main, helm: {releaseName: big, valueFiles: [prod.yaml, gone.yaml, /env/prod.yaml], ignoreMissingValueFiles: true, values: "a: {b: 1, c: [x]}", parameters: [{name: a.b, value: "2"}, {name: v, value: "1.10", forceString: true}, {name: list, value: "x,y"}]}}`),
			render.Options{
				Path: "chart", Namespace: "shop", ReleaseName: "big", IsUpgrade: true, ValuesFiles: []string{"prod.yaml", "/env/prod.yaml"},
				Values: map[string]any{"a": map[string]any{"b": int64(2), "c": []any{"x"}}, "v": "1.10", "list": "x,y"},
			},
		},
		"argo cd, values of another source": {
			argo("sources:\n- {repoURL: " + ours + ", path: chart, helm: {valueFiles: [$env/env/prod.yaml]}}\n- {repoURL: " + ours + ", ref: env}"),
			with(argoHelm, func(o *render.Options) { o.ValuesFiles = []string{"/env/prod.yaml"} }),
		},
		"argo cd, directory": {
			argo("source: {repoURL: " + ours + ", path: plain}"),
			with(argoHelm, func(o *render.Options) { o.Path, o.Renderer = "plain", render.Plain }),
		},
		"flux": {
			flux("path: ./over\nsourceRef: {kind: GitRepository, name: shop}"),
			render.Options{Path: "over", Renderer: render.Kustomize},
		},
		"flux helm": {
			release("targetNamespace: prod\nchart: {spec: {chart: ./chart, valuesFiles: [env/prod.yaml], sourceRef: {kind: GitRepository, name: shop, namespace: flux-system}}}\nvalues: {a: 3}"),
			render.Options{
				Path: "chart", Renderer: render.Helm, Namespace: "prod", ReleaseName: "prod-web", IsUpgrade: true,
				ValuesFiles: []string{"/env/prod.yaml"}, Values: map[string]any{"a": 3.0},
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			app, omitted := readOne(t, c.manifest)
			if omitted != nil || app == nil || len(app.Parts) != 1 {
				t.Fatalf("%+v, %+v", app, omitted)
			}
			got := app.Parts[0].Options
			if got.Scope == "" {
				t.Error("it has no scope")
			}
			got.Scope = ""
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func with(o render.Options, change func(*render.Options)) render.Options {
	change(&o)
	return o
}

func TestElsewhere(t *testing.T) {
	cases := map[string]struct{ manifest, want string }{
		"another repository":     {argo("source: {repoURL: 'https://git.example/team/other', path: chart}"), "another repository"},
		"one of several":         {argo("sources: [{repoURL: " + ours + ", path: chart}, {repoURL: 'https://charts.example', chart: x}]"), "chart x"},
		"a tag":                  {argo("source: {repoURL: " + ours + ", path: chart, targetRevision: v1.2.3}"), "stays at v1.2.3"},
		"a commit":               {argo("source: {repoURL: " + ours + ", path: chart, targetRevision: 0123456789abcdef0123456789abcdef01234567}"), "stays at"},
		"a plugin":               {argo("source: {repoURL: " + ours + ", path: chart, plugin: {name: x}}"), "plugin"},
		"no path":                {argo("source: {repoURL: " + ours + "}"), "no path"},
		"no source":              {argo("project: x"), "no path"},
		"nonsense":               {argo("source: [1]"), "cannot be read"},
		"a set":                  {"apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: all}\n", "not expanded"},
		"flux, another":          {flux("path: over\nsourceRef: {kind: GitRepository, name: other}"), "another repository"},
		"flux, a tag":            {flux("path: over\nsourceRef: {kind: GitRepository, name: release}"), "stays at v1.2.3"},
		"flux, an artifact":      {flux("path: over\nsourceRef: {kind: OCIRepository, name: shop}"), "an OCIRepository shop"},
		"helm, a chart's museum": {release("chart: {spec: {chart: web, sourceRef: {kind: HelmRepository, name: x}}}"), "a HelmRepository"},
		"helm, a reference":      {release("chartRef: {kind: OCIRepository, name: x}"), "an OCIRepository x"},
		"helm, nothing":          {release("interval: 1m"), "no chart"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			app, omitted := readOne(t, c.manifest)
			if app != nil || omitted == nil || !strings.Contains(omitted.Message, c.want) {
				t.Errorf("%+v, %+v", app, omitted)
			}
			if omitted != nil && omitted.Origin.File != "apps.yaml" {
				t.Errorf("origin %v", omitted.Origin)
			}
		})
	}
}

func TestBranchesAreFollowed(t *testing.T) {
	for revision, want := range map[string]bool{
		"": false, "main": false, "HEAD": false, "release-1.2": false, "v1": false, "feature/2.0": false,
		"v1.2.3": true, "1.2": true, "~1.2": true, ">=1.0.0": true, "refs/tags/x": true, "1.x": true,
	} {
		if got := pinned(revision); got != want {
			t.Errorf("pinned(%q) = %v", revision, got)
		}
	}
}

// A mirror under another name is still the repository that its manifests mean.
func TestMirror(t *testing.T) {
	text := argo("source: {repoURL: " + ours + ", path: chart}")
	for remote, want := range map[string]bool{"https://other.example/fork/shop": true, "https://other.example/mirror": true, "": true} {
		c := NewCatalog(tree, []string{remote})
		m := manifests(t, text)[0]
		c.Remember(m)
		if app, _ := c.Read(m, ""); (app != nil) != want {
			t.Errorf("with the remote %q it is found: %v", remote, app != nil)
		}
	}
	c := NewCatalog(tree, []string{"https://other.example/mirror"})
	m := manifests(t, argo("source: {repoURL: "+ours+", path: nowhere}"))[0]
	c.Remember(m)
	if app, omitted := c.Read(m, ""); app != nil || omitted == nil {
		t.Error("what is not here is not meant")
	}
}

func TestFluxOverlay(t *testing.T) {
	app, _ := readOne(t, flux(`
path: over
sourceRef: {kind: GitRepository, name: shop}
targetNamespace: prod
images: [{name: web, newTag: "2"}]
patches: [{patch: "{}"}]
commonMetadata: {labels: {a: b}}
`))
	var got map[string]any
	if err := yaml.Unmarshal(app.Parts[0].Overlay["over/kustomization.yaml"], &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"resources": []any{"cm.yaml"}, "namespace": "prod", "images": []any{map[string]any{"name": "web", "newTag": "2"}},
		"patches": []any{map[string]any{"patch": "{}"}}, "labels": []any{map[string]any{"pairs": map[string]any{"a": "b"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("overlay (-want +got):\n%s", diff)
	}
}

// Without a kustomization Flux writes one of all manifests below.
func TestFluxWithoutKustomization(t *testing.T) {
	app, _ := readOne(t, flux("path: flux\nsourceRef: {kind: GitRepository, name: shop}"))
	var got map[string]any
	if err := yaml.Unmarshal(app.Parts[0].Overlay["flux/kustomization.yaml"], &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"resources": []any{"a.yaml", "deep/b.yml", "k"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kustomization (-want +got):\n%s", diff)
	}
}

func TestImages(t *testing.T) {
	for text, want := range map[string]map[string]any{
		"web:2":                     {"name": "web", "newTag": "2"},
		"web=reg:5000/web":          {"name": "web", "newName": "reg:5000/web"},
		"web=reg:5000/web:2":        {"name": "web", "newName": "reg:5000/web", "newTag": "2"},
		"reg/web@sha256:0123":       {"name": "reg/web", "digest": "sha256:0123"},
		"web=other/web@sha256:0123": {"name": "web", "newName": "other/web", "digest": "sha256:0123"},
	} {
		if diff := cmp.Diff(want, imageOf(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestSelection(t *testing.T) {
	cases := []struct {
		s    *Selection
		file string
		want bool
	}{
		{nil, "d/a/b.yaml", true},
		{&Selection{}, "d/b.yaml", true},
		{&Selection{}, "d/a/b.yaml", false},
		{&Selection{Recurse: true}, "d/a/b.yaml", true},
		{&Selection{Recurse: true, Include: "{a,c}.yaml"}, "d/c.yaml", true},
		{&Selection{Recurse: true, Include: "{a,c}.yaml"}, "d/b.yaml", false},
		{&Selection{Recurse: true, Exclude: "*.json"}, "d/x/b.json", false},
		{&Selection{Recurse: true, Include: "[", Exclude: "["}, "d/b.json", false},
	}
	for _, c := range cases {
		if got := c.s.Selects("d", c.file); got != c.want {
			t.Errorf("%+v of %s: %v", c.s, c.file, got)
		}
	}
}

func TestSubstitute(t *testing.T) {
	object := manifests(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: \"${a} ${b:=two} ${c} $${a} $a\", list: [\"${a}\"]}\n")[0]
	got := SubstituteIn(objectOf(object), map[string]string{"a": "one"})
	want := map[string]any{"x": "one two ${c} ${a} $a", "list": []any{"one"}}
	if diff := cmp.Diff(want, got.Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if before := object.Object["data"].(map[string]any)["x"]; before == want["x"] {
		t.Error("the given object is changed")
	}
	off := manifests(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\ndata: {x: \"${a}\"}\n")[0]
	if got := SubstituteIn(objectOf(off), map[string]string{"a": "one"}); got.Object["data"].(map[string]any)["x"] != "${a}" {
		t.Error("an object that asks to be left alone is not")
	}
}
