package kustomize_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/kustomize"
)

// repository reads files from a txtar archive.
func repository(text string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return fsys
}

const shop = `
-- base/web/kustomization.yaml --
resources:
- deployment.yaml
- ../../shared/account.yaml
-- base/web/deployment.yaml --
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 1
  template:
    spec:
      containers:
      - name: web
        image: shop/web:1
-- shared/account.yaml --
apiVersion: v1
kind: ServiceAccount
metadata:
  name: web
-- overlays/prod/kustomization.yaml --
namePrefix: prod-
namespace: shop
resources:
- ../../base/web
images:
- name: shop/web
  newTag: "2"
patches:
- patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web
    spec:
      replicas: 3
`

func TestRenderBuildsOverlays(t *testing.T) {
	out, err := kustomize.Render(t.Context(), repository(shop), render.Options{Path: "overlays/prod"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"apps/Deployment shop/prod-web 3 shop/web:2", "ServiceAccount shop/prod-web"}, summary(out)); diff != "" {
		t.Error(diff)
	}
	if out.Tainted || out.Nondeterministic || out.Consulted != (render.Consulted{}) {
		t.Errorf("nothing but files has a say, got %+v", out)
	}
}

func summary(out *render.Output) []string {
	var got []string
	for _, o := range out.Objects {
		line := o.Ref().String()
		if o.GetKind() == "Deployment" {
			spec := o.Object["spec"].(map[string]any)
			pod := spec["template"].(map[string]any)["spec"].(map[string]any)
			line += fmt.Sprintf(" %v %v", spec["replicas"], pod["containers"].([]any)[0].(map[string]any)["image"])
		}
		got = append(got, line)
	}
	return got
}

func TestRenderLaysOptionsOver(t *testing.T) {
	cases := map[string]struct{ image, want string }{
		"tag":             {"shop/web:7", "shop/web:7"},
		"name":            {"shop/web=registry.example:5000/web", "registry.example:5000/web:2"},
		"name and tag":    {"shop/web=registry.example:5000/web:v1", "registry.example:5000/web:v1"},
		"digest":          {"shop/web@sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3", "shop/web@sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3"},
		"of another name": {"shop/other:7", "shop/web:2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := kustomize.Render(t.Context(), repository(shop), render.Options{
				Path: "overlays/prod", Images: []string{c.image}, NamePrefix: "blue-",
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"apps/Deployment shop/blue-prod-web 3 " + c.want, "ServiceAccount shop/blue-prod-web"}
			if diff := cmp.Diff(want, summary(out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		kustomization string
		kind          mizzen.Kind
		want          string
	}{
		"remote base":       {"resources:\n- a.yaml\n- https://github.com/org/repo//base?ref=v1\n", mizzen.Refused, "https://github.com/org/repo//base?ref=v1 (app/kustomization.yaml:3): it is remote"},
		"remote by scp":     {"resources: [git@github.com:org/repo.git]\n", mizzen.Refused, "it is remote"},
		"remote, no scheme": {"resources: [github.com/org/repo/base]\n", mizzen.Refused, "it is remote"},
		"remote file":       {"resources: [https://example.com/a.yaml]\n", mizzen.Refused, "it is remote"},
		"password":          {"resources: ['https://joe:hunter2@github.com/org/repo']\n", mizzen.Refused, "joe:xxxxx@"},
		"remote component":  {"components: [https://github.com/org/repo]\n", mizzen.Refused, "it is remote"},
		"remote patch":      {"resources: [a.yaml]\npatches:\n- path: https://example.com/p.yaml\n", mizzen.Refused, "(app/kustomization.yaml:3): it is remote"},
		"remote config map": {"configMapGenerator:\n- name: a\n  files: [x=https://example.com/x]\n", mizzen.Refused, "it is remote"},
		"remote schema":     {"resources: [a.yaml]\nopenapi: {path: https://example.com/s.json}\n", mizzen.Refused, "it is remote"},
		"out of repository": {"resources: [../../other]\n", mizzen.Refused, "../../other (app/kustomization.yaml:1): the path leads out of the repository"},
		"absolute":          {"resources: [/etc/passwd]\n", mizzen.Refused, "the path leads out of the repository"},
		"file outside":      {"configMapGenerator:\n- name: a\n  files: [../../../etc/passwd]\n", mizzen.Refused, "the path leads out of the repository"},
		"patch outside":     {"resources: [a.yaml]\npatchesStrategicMerge: [../../x.yaml]\n", mizzen.Refused, "the path leads out of the repository"},
		"helm charts":       {"helmCharts:\n- name: minecraft\n", mizzen.Refused, "helmCharts (app/kustomization.yaml:1): kustomize would fetch charts"},
		"helm generator":    {"generators:\n- |\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: x}\n  name: x\n", mizzen.Refused, "source.helm"},
		"helm of a base":    {"resources: [../helm]\n", mizzen.Refused, "helm/kustomization.yaml:1"},
		"exec plugin":       {"generators: [exec.yaml]\n", mizzen.Refused, "example.com/v1 Sed (app/exec.yaml:1): exec and function plugins"},
		"function plugin":   {"resources: [a.yaml]\ntransformers:\n- |\n  apiVersion: example.com/v1\n  kind: Fn\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: 'container: {image: x}'\n", mizzen.Refused, "exec and function plugins"},
		"plugin's path":     {"resources: [a.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: https://example.com/p.yaml\n", mizzen.Refused, "it is remote"},
		"cycle":             {"resources: [../cycle]\n", mizzen.Invalid, "(cycle/kustomization.yaml:1): the kustomization contains itself"},
		"missing file":      {"resources:\n- a.yaml\n- gone.yaml\n", mizzen.NotFound, `app/gone.yaml (app/kustomization.yaml:3): "gone.yaml" is not in the repository`},
		"unknown field":     {"resources: [a.yaml]\nnamePrefx: a-\n", mizzen.Invalid, `app/kustomization.yaml:2: invalid Kustomization`},
		"bad YAML":          {"resources: [a.yaml\n", mizzen.Invalid, "app/kustomization.yaml:"},
		"bad resource":      {"resources: [bad.yaml]\n", mizzen.Invalid, "app/bad.yaml:2: invalid YAML"},
		"text as resource":  {"resources: [hello.txt]\n", mizzen.Invalid, "app/hello.txt:2: the document is not a mapping"},
		"bomb":              {"resources: [bomb.yaml]\n", mizzen.TooLarge, "once its aliases are expanded"},
		"patch of nothing":  {"resources: [a.yaml]\npatches:\n- patch: |\n    {apiVersion: v1, kind: Pod, metadata: {name: gone}}\n", mizzen.Invalid, "app/kustomization.yaml: kustomize cannot build it: no resource matches"},
		"inline patch":      {"resources: [a.yaml]\npatches:\n- patch: |\n    data: {password: hunter2}\n", mizzen.Invalid, "unable to parse SM or JSON patch from [patch: …]"},
		"JSON patch":        {"resources: [a.yaml]\npatches:\n- patch: |\n    [{op: add, path: /data/x, value: 'it \"is\" hunter2'}]\n", mizzen.Invalid, "unable to parse SM or JSON patch from [patch: …]"},
		"old JSON patch":    {"resources: [a.yaml]\npatchesJson6902:\n- target: {version: v1, kind: ConfigMap, name: a}\n  patch: '{a: \"x: hunter2\"}'\n", mizzen.Invalid, "decoding …: cannot unmarshal"},
		"literal":           {"secretGenerator:\n- name: a\n  literals: [password hunter2]\n", mizzen.Invalid, "invalid literal source …, expected key=value"},
		"literal lines":     {"secretGenerator:\n- name: a\n  literals: [\"password\\nis, hunter2\"]\n", mizzen.Invalid, "invalid literal source …, expected key=value"},
		"env file":          {"secretGenerator:\n- name: a\n  envs: [latin1.env]\n", mizzen.Invalid, "a line is not UTF-8"},
		"value for another": {"resources: [secret.yaml, a.yaml]\nreplacements:\n- source: {kind: Secret, fieldPath: stringData.password, options: {delimiter: '@', index: 3}}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.x], options: {create: true}}]\n", mizzen.Invalid, "options.index 3 is out of bounds for value …"},
		"value in a path":   {"resources: [secret.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |\n    [{op: add, path: /stringData/password/x, value: hunter2}]\n", mizzen.Invalid, "kustomize cannot build it"},
		"text of an object": {"resources: [secret.yaml]\nreplacements:\n- source: {kind: Secret, fieldPath: stringData}\n  targets: [{select: {kind: Secret}, fieldPaths: [stringData.password.x]}]\n", mizzen.Invalid, "kustomize cannot build it"},
		"doubling bases":    {"resources: [../d0, ../d0]\n", mizzen.TooLarge, "more than 2000 kustomizations"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fsys := repository(shop + "-- app/a.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n" +
				"-- app/bad.yaml --\na: b\n c: d\n-- app/exec.yaml --\n{apiVersion: example.com/v1, kind: Sed, metadata: {name: x}}\n" +
				"-- app/secret.yaml --\n{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: hunter2}}\n" +
				"-- app/hello.txt --\n# a comment\nhello\n" +
				"-- helm/kustomization.yaml --\nhelmCharts: [{name: x}]\n-- cycle/kustomization.yaml --\nresources: [../app]\n" +
				"-- app/kustomization.yaml --\n" + c.kustomization)
			if name == "cycle" {
				fsys["cycle/kustomization.yaml"].Data = []byte("resources: [../app]\n")
				c.want = "(cycle/kustomization.yaml:1): the kustomization contains itself"
			}
			bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
			for c := 'b'; c < 'k'; c++ {
				bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
			}
			fsys["app/bomb.yaml"] = &fstest.MapFile{Data: []byte(bomb)}
			fsys["app/latin1.env"] = &fstest.MapFile{Data: []byte("password=hunter2\xff\n")}
			for i := range 20 {
				fsys[fmt.Sprintf("d%d/kustomization.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "resources: [../d%d, ../d%d]\n", i+1, i+1)}
			}
			fsys["d20/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [../app/a.yaml]\n")}
			_, err := kustomize.Render(t.Context(), fsys, render.Options{Path: "app"})
			var e *mizzen.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want a mizzen.Error", err)
			}
			if e.Kind != c.kind || !strings.Contains(err.Error(), c.want) || e.Remedy == "" {
				t.Errorf("%s error = %v\nwant %s with %q and a remedy", e.Kind, err, c.kind, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "/repository") {
				t.Errorf("%v tells too much", err)
			}
		})
	}
}

// Kustomize takes what parses as an object for one, whatever its lines.
func TestRenderReadsInlineOneLiners(t *testing.T) {
	fsys := repository(shop + "-- one/kustomization.yaml --\n" +
		"resources: [../base/web]\n" +
		"patchesStrategicMerge: ['{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 4}}']\n" +
		"-- two/kustomization.yaml --\nresources: [../one]\ntransformers: ['{apiVersion: builtin, kind: PrefixTransformer, metadata: {name: p}, prefix: a-, fieldSpecs: [{path: metadata/name}]}']\n")
	out, err := kustomize.Render(t.Context(), fsys, render.Options{Path: "two", FieldOrigins: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"apps/Deployment a-web 4 shop/web:1", "ServiceAccount a-web"}, summary(out)); diff != "" {
		t.Error(diff)
	}
}

func TestRenderIsTaintedBySchemas(t *testing.T) {
	fsys := repository("-- app/kustomization.yaml --\nresources: [a.yaml]\nopenapi: {version: v1.21.2}\n" +
		"-- app/a.yaml --\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
	out, err := kustomize.Render(t.Context(), fsys, render.Options{Path: "app"})
	if !out.Tainted {
		t.Errorf("not tainted, error %v", err)
	}
}

func TestRenderOfNoKustomization(t *testing.T) {
	_, err := kustomize.Render(t.Context(), repository(shop), render.Options{Path: "gone"})
	if mizzen.KindOf(err) != mizzen.NotFound {
		t.Errorf("error = %v, want NotFound", err)
	}
}
