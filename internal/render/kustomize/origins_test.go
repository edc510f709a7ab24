package kustomize_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/kustomize"
)

const traced = `
-- base/kustomization.yaml --
resources: [web.yaml]
labels:
- pairs:
    team: shop
-- base/web.yaml --
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    on: "yes"
spec:
  replicas: 1
  minReadySeconds: 5
  template:
    spec:
      tolerations:
      - key: a
      containers:
      - name: web
        image: shop/web:1
        args: [--one, --two]
        env:
        - name: A
          value: one
        - name: B
          value: two
-- prod/kustomization.yaml --
namespace: shop
namePrefix: prod-
resources: [../base]
images:
- name: shop/web
  newTag: "2"
patches:
- path: env.yaml
- patch: |
    - op: replace
      path: /spec/minReadySeconds
      value: 9
    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --three
  target:
    kind: Deployment
- path: other.yaml
  target: {kind: Service}
- path: gone.yaml
  target: {name: nothing}
configMapGenerator:
- name: settings
  literals:
  - mode=fast
-- prod/env.yaml --
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: web
        env:
        - name: B
          value: three
-- prod/other.yaml --
- {op: add, path: /spec, value: {}}
-- prod/gone.yaml --
- {op: add, path: /spec, value: {}}
`

func TestOrigins(t *testing.T) {
	out, err := kustomize.Render(t.Context(), repository(traced), render.Options{Path: "prod", FieldOrigins: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range out.Objects {
		got[o.GetKind()] = show(o.Origins.Object)
		for p, at := range o.Origins.Fields {
			if p.Parent() != "" || o.GetKind() != "Deployment" {
				got[o.GetKind()+" "+string(p)] = show(at)
			}
		}
	}
	const unknown = "base/web.yaml via prod/env.yaml:1 prod/kustomization.yaml:10"
	const container = "Deployment spec.template.spec.containers[0]"
	want := map[string]string{
		"Deployment": "base/web.yaml:1 via prod/env.yaml:1 prod/kustomization.yaml:10",
		// The name is put together, so it stands nowhere.
		"Deployment metadata.name":                 unknown,
		"Deployment metadata.namespace":            "prod/kustomization.yaml:1 via base/web.yaml:1",
		"Deployment metadata.labels":               unknown,
		"Deployment metadata.labels.team":          "base/kustomization.yaml:4 via base/web.yaml:1",
		"Deployment metadata.annotations":          "base/web.yaml:5",
		"Deployment metadata.annotations.on":       "base/web.yaml:6",
		"Deployment spec.replicas":                 "prod/env.yaml:6 via base/web.yaml:1",
		"Deployment spec.minReadySeconds":          "prod/kustomization.yaml:12 via base/web.yaml:1",
		"Deployment spec.template":                 "base/web.yaml:10",
		"Deployment spec.template.spec":            "base/web.yaml:11",
		"Deployment spec.template.spec.containers": "prod/env.yaml:9 via base/web.yaml:1",
		container:              "base/web.yaml:15",
		container + ".name":    "prod/env.yaml:10 via base/web.yaml:1",
		container + ".image":   "prod/kustomization.yaml:6 via base/web.yaml:1",
		container + ".args":    "base/web.yaml:17",
		container + ".args[0]": unknown, // a patch added to the list
		container + ".args[1]": unknown,
		container + ".args[2]": unknown,
		container + ".env":     "prod/env.yaml:11 via base/web.yaml:1",
		// Kustomize puts what a patch names first.
		container + ".env[0]":      "base/web.yaml:21",
		container + ".env[0].name": "prod/env.yaml:12 via base/web.yaml:1", container + ".env[0].value": "prod/env.yaml:13 via base/web.yaml:1",
		container + ".env[1]":      "base/web.yaml:19",
		container + ".env[1].name": "base/web.yaml:19", container + ".env[1].value": "base/web.yaml:20",
		"Deployment spec.template.spec.tolerations":        "base/web.yaml:12",
		"Deployment spec.template.spec.tolerations[0]":     "base/web.yaml:13",
		"Deployment spec.template.spec.tolerations[0].key": "base/web.yaml:13",

		"ConfigMap": "prod/kustomization.yaml:23", "ConfigMap apiVersion": "prod/kustomization.yaml",
		"ConfigMap kind": "prod/kustomization.yaml", "ConfigMap metadata": "prod/kustomization.yaml",
		"ConfigMap metadata.name": "prod/kustomization.yaml", "ConfigMap metadata.namespace": "prod/kustomization.yaml:1",
		"ConfigMap data": "prod/kustomization.yaml", "ConfigMap data.mode": "prod/kustomization.yaml:25",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func show(o mizzen.Origin) string {
	text := o.String()
	for i, via := range o.Via {
		if i == 0 {
			text += " via"
		}
		text += " " + via.String()
	}
	return text
}

func TestObjectOriginWithoutFields(t *testing.T) {
	out, err := kustomize.Render(t.Context(), repository(traced), render.Options{Path: "base"})
	if err != nil {
		t.Fatal(err)
	}
	want := mizzen.Origins{Object: mizzen.Origin{File: "base/web.yaml", Line: 1}}
	if diff := cmp.Diff(want, out.Objects[0].Origins); diff != "" {
		t.Error(diff)
	}
}

// count tells how many fields have a line, and holds every line that is told
// against the text that stands there.
func count(t *testing.T, out *render.Output, repository fs.FS) (exact, unknown int) {
	t.Helper()
	files := map[string][]string{}
	for _, o := range out.Objects {
		values := map[mizzen.Path]string{}
		leaves("", o.Object, values)
		for p, at := range o.Origins.Fields {
			if at.Line == 0 {
				unknown++
				continue
			}
			exact++
			if files[at.File] == nil {
				files[at.File] = lines(t, repository, at.File)
			}
			line := files[at.File][at.Line-1]
			if value, scalar := values[p]; scalar && !strings.Contains(value, "\n") && !holds(line, value) {
				t.Errorf("%s %s = %q is said to be on %s, where stands %q", o.Ref(), p, value, at, line)
			}
		}
	}
	return exact, unknown
}

// holds reports whether a line shows a value, or begins one that goes on below
// or is written with escapes.
func holds(line, value string) bool {
	first, _, _ := strings.Cut(value, " ")
	_, tag, _ := strings.Cut(value[strings.LastIndexByte(value, '/')+1:], ":")
	return strings.Contains(line, first) || strings.HasSuffix(strings.TrimSpace(line), ":") || strings.ContainsAny(line, `"'|>`) ||
		value == "<nil>" || tag != "" && strings.Contains(line, tag) || strings.Contains(line, "newName")
}

func leaves(p mizzen.Path, v any, to map[mizzen.Path]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			leaves(p.Key(key), value, to)
		}
	case []any:
		for i, value := range v {
			leaves(p.Index(i), value, to)
		}
	default:
		to[p] = fmt.Sprint(v)
	}
}

func lines(t *testing.T, repository fs.FS, name string) []string {
	t.Helper()
	data, err := fs.ReadFile(repository, name)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	scanner := bufio.NewScanner(strings.NewReader(string(data)))
	scanner.Buffer(nil, 8<<20)
	for scanner.Scan() {
		all = append(all, scanner.Text())
	}
	return all
}
