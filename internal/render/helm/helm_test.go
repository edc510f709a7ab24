package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/helm"
)

// repository reads files from a txtar archive.
func repository(text string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return fsys
}

// chart is a repository with a chart of one template.
func chart(template string, more ...string) fstest.MapFS {
	return repository("-- app/Chart.yaml --\napiVersion: v2\nname: app\nversion: 1.0.0\n-- app/templates/x.yaml --\n" + template + "\n" + strings.Join(more, ""))
}

// configMap is a template of a ConfigMap with one key.
func configMap(value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: " + value
}

func options() render.Options {
	return render.Options{Path: "app", ReleaseName: "web", Namespace: "shop", Capabilities: render.Capabilities{KubeVersion: "v1.36.0"}}
}

func mustRender(t *testing.T, fsys fstest.MapFS, o render.Options) *render.Output {
	t.Helper()
	out, err := helm.Render(t.Context(), fsys, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// data returns data.k of the only object.
func data(t *testing.T, out *render.Output) string {
	t.Helper()
	if len(out.Objects) != 1 {
		t.Fatalf("%d objects, want 1", len(out.Objects))
	}
	k, _ := out.Objects[0].Object["data"].(map[string]any)["k"].(string)
	return k
}

func TestValuesWin(t *testing.T) {
	files := "-- app/values.yaml --\nk: chart\n-- app/prod.yaml --\nk: prod\n-- common/values.yaml --\nk: common\n"
	cases := map[string]struct {
		files  []string
		values map[string]any
		want   string
	}{
		"chart's own":          {nil, nil, "chart"},
		"relative":             {[]string{"prod.yaml"}, nil, "prod"},
		"of the repository":    {[]string{"/common/values.yaml"}, nil, "common"},
		"up and down":          {[]string{"../common/values.yaml"}, nil, "common"},
		"the later":            {[]string{"prod.yaml", "/common/values.yaml"}, nil, "common"},
		"the Application's":    {[]string{"prod.yaml"}, map[string]any{"k": "inline"}, "inline"},
		"the chart's by names": {[]string{"values.yaml"}, nil, "chart"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.ValuesFiles, o.Values = c.files, c.values
			if got := data(t, mustRender(t, chart(configMap("{{ .Values.k }}"), files), o)); got != c.want {
				t.Errorf("k = %q, want %q", got, c.want)
			}
		})
	}
}

func TestValuesYML(t *testing.T) {
	fsys := chart(configMap("{{ .Values.k }}"), "-- app/values.yml --\nk: yml\n")
	if got := data(t, mustRender(t, fsys, options())); got != "yml" {
		t.Errorf("k = %q, want that of values.yml", got)
	}
	fsys["app/values.yaml"] = &fstest.MapFile{Data: []byte("k: yaml\n")}
	if got := data(t, mustRender(t, fsys, options())); got != "yaml" {
		t.Errorf("k = %q, want that of values.yaml", got)
	}
}

const withDependencies = `
-- app/Chart.yaml --
apiVersion: v2
name: app
version: 1.0.0
dependencies:
- name: db
  version: 1.x.x
  condition: db.enabled
  import-values: [exported]
- name: db
  version: 1.x.x
  alias: cache
- name: lib
  version: 0.1.0
- name: off
  version: 1.0.0
  tags: [extra]
-- app/values.yaml --
tags: {extra: false}
db: {enabled: true, k: parent}
-- app/charts/db-dir/Chart.yaml --
{apiVersion: v2, name: db, version: 1.2.3}
-- app/charts/db-dir/values.yaml --
k: own
exports: {exported: {port: 5432}}
-- app/charts/db-dir/templates/cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Chart.Name }}}
data: {k: {{ .Values.k }}, {{ include "lib.pair" . }}}
-- app/charts/db-dir/crds/crd.yaml --
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: dbs.example.com}
-- app/charts/lib/Chart.yaml --
{apiVersion: v2, name: lib, version: 0.1.0, type: library}
-- app/charts/lib/templates/_pair.tpl --
{{- define "lib.pair" }}release: {{ .Release.Name }}{{ end }}
-- app/charts/off/Chart.yaml --
{apiVersion: v2, name: off, version: 1.0.0}
-- app/charts/off/templates/bad.yaml --
{{ fail "never rendered" }}
-- app/templates/cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: parent}
data: {port: "{{ .Values.port }}"}
-- app/templates/NOTES.txt --
Thank you for installing {{ .Chart.Name }}.
-- app/templates/.hidden.yaml --
{{ fail "never rendered" }}
-- app/.helmignore --
draft.yaml
-- app/templates/draft.yaml --
{{ fail "never rendered" }}
`

func TestDependencies(t *testing.T) {
	out := mustRender(t, repository(withDependencies), options())
	got := map[string]any{}
	for _, o := range out.Objects {
		got[o.Ref().String()+" from "+o.Origins.Object.File] = o.Object["data"]
	}
	want := map[string]any{
		"apiextensions.k8s.io/CustomResourceDefinition dbs.example.com from app/charts/db-dir/crds/crd.yaml": nil,
		"ConfigMap db from app/charts/db-dir/templates/cm.yaml":                                              map[string]any{"k": "parent", "release": "web"},
		"ConfigMap cache from app/charts/db-dir/templates/cm.yaml":                                           map[string]any{"k": "own", "release": "web"},
		"ConfigMap parent from app/templates/cm.yaml":                                                        map[string]any{"port": "5432"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestArchivedDependency(t *testing.T) {
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	for name, text := range map[string]string{
		"db/Chart.yaml": "{apiVersion: v2, name: db, version: 1.0.0}", "db/templates/x.yaml": configMap("packed"),
	} {
		if err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(archive, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	fsys := chart("")
	fsys["app/charts/db-1.0.0.tgz"] = &fstest.MapFile{Data: packed.Bytes()}
	out := mustRender(t, fsys, options())
	if got := data(t, out); got != "packed" {
		t.Errorf("k = %q", got)
	}
	if diff := cmp.Diff(mizzen.Origin{File: "app/charts/db-1.0.0.tgz"}, out.Objects[0].Origins.Object); diff != "" {
		t.Error(diff)
	}
}

func TestHooksAreLeftOut(t *testing.T) {
	hook := func(name, events string) string {
		return "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: " + name + "\n  annotations: {helm.sh/hook: \"" + events + "\"}\n"
	}
	out := mustRender(t, chart(configMap("x")+"\n"+hook("migrate", "pre-install,pre-upgrade")+hook("check", "test")+hook("old", "crd-install")), options())
	if len(out.Objects) != 1 {
		t.Errorf("objects: %v", out.Objects)
	}
	got := map[string]mizzen.Severity{}
	for _, f := range out.Findings {
		got[string(f.Code)+" "+f.Ref.String()+" "+f.Origin.File] = f.Severity
	}
	want := map[string]mizzen.Severity{
		"MZ1004 batch/Job migrate app/templates/x.yaml": mizzen.Warning,
		"MZ1004 batch/Job check app/templates/x.yaml":   mizzen.Info,
		"MZ1004 batch/Job old app/templates/x.yaml":     mizzen.Warning,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoClusterNoNetworkNoEnvironment(t *testing.T) {
	t.Setenv("SECRET", "hunter2")
	out := mustRender(t, chart(configMap(`"{{ lookup "v1" "Secret" "shop" "x" }}{{ getHostByName "localhost" }}"`)), options())
	if got := data(t, out); got != "map[]" {
		t.Errorf("k = %q, want nothing of the world outside", got)
	}
	for _, function := range []string{"env", "expandenv"} {
		_, err := helm.Render(t.Context(), chart(configMap(`{{ `+function+` "SECRET" }}`)), options())
		if err == nil || !strings.Contains(err.Error(), `app/templates/x.yaml:6`) || !strings.Contains(err.Error(), "not defined") {
			t.Errorf("%s: error = %v", function, err)
		}
	}
}

func TestNondeterminism(t *testing.T) {
	cases := map[string]struct {
		template string
		more     string
		at       string
	}{
		"random":          {configMap(`{{ randAlphaNum 8 }}`), "", "app/templates/x.yaml:6"},
		"time":            {configMap(`{{ now | date "2006" }}`), "", "app/templates/x.yaml:6"},
		"no time":         {configMap(`{{ date "2006" "x" }}`), "", "app/templates/x.yaml:6"},
		"certificate":     {configMap(`{{ (genCA "x" 1).Cert | b64enc }}`), "", "app/templates/x.yaml:6"},
		"in a define":     {configMap(`{{ include "f" . }}`), "-- app/templates/_f.tpl --\n{{ define \"f\" }}\n{{- uuidv4 }}{{ end }}\n", "app/templates/_f.tpl:2"},
		"at one of two":   {configMap(`{{ if true }}{{ uuidv4 }}{{ else }}{{ uuidv4 }}{{ end }}`), "", "app/templates/x.yaml"},
		"not called":      {configMap(`{{ if false }}{{ uuidv4 }}{{ end }}x`), "", ""},
		"date of a time":  {configMap(`"{{ date "2006" 0 }}"`), "", ""},
		"keys, in order":  {configMap(`{{ keys (dict "b" 1 "a" 2) | join "" }}`), "", ""},
		"password of one": {configMap(`{{ derivePassword 1 "long" "p" "u" "s" | b64enc }}`), "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out := mustRender(t, chart(c.template, c.more), options())
			if out.Nondeterministic != (c.at != "") {
				t.Fatalf("nondeterministic = %v, findings %v", out.Nondeterministic, out.Findings)
			}
			if c.at == "" {
				return
			}
			f := out.Findings[0]
			if f.Code != mizzen.CodeNondeterministic || f.Origin.String() != c.at {
				t.Errorf("finding %s at %s, want it at %s", f.Code, f.Origin, c.at)
			}
		})
	}
}

func TestConsulted(t *testing.T) {
	cases := map[string]struct {
		template, more string
		want           render.Consulted
	}{
		"nothing":            {`{{ .Values.x }}{{ .Release.Name }}{{ include "f" . }}`, "-- app/templates/_f.tpl --\n{{ define \"f\" }}{{ with .Values }}{{ toYaml . }}{{ end }}{{ end }}\n", render.Consulted{}},
		"capabilities":       {`{{ .Capabilities.KubeVersion.Minor }}`, "", render.Consulted{Capabilities: true}},
		"in a condition":     {`{{ if $.Capabilities.APIVersions.Has "a/v1" }}{{ end }}`, "", render.Consulted{Capabilities: true}},
		"in a comment":       {`{{/* .Capabilities */}}`, "", render.Consulted{}},
		"upgrade":            {`{{ if .Release.IsUpgrade }}{{ end }}`, "", render.Consulted{IsUpgrade: true}},
		"install":            {`{{ if not .Release.IsInstall }}{{ end }}`, "", render.Consulted{IsUpgrade: true}},
		"all of the release": {`{{ if toYaml .Release }}{{ end }}`, "", render.Consulted{IsUpgrade: true}},
		"by name":            {`{{ (index . "Release").IsUpgrade }}`, "", render.Consulted{IsUpgrade: true}},
		"by any name":        {`{{ if index . .Values.x }}{{ end }}`, "-- app/values.yaml --\nx: Values\n", render.Consulted{Capabilities: true, IsUpgrade: true}},
		"everything":         {`{{ if toYaml $ }}{{ end }}`, "", render.Consulted{Capabilities: true, IsUpgrade: true}},
		"range":              {`{{ range . }}{{ end }}`, "", render.Consulted{Capabilities: true, IsUpgrade: true}},
		"named":              {`{{ $root := . }}{{ $root.Values.x }}{{ include "f" (dict "context" $) }}`, "-- app/templates/_f.tpl --\n{{ define \"f\" }}{{ .context.Values.x }}{{ end }}\n", render.Consulted{}},
		"named and shown":    {`{{ $root := . }}{{ if toYaml $root }}{{ end }}`, "", render.Consulted{Capabilities: true, IsUpgrade: true}},
		"in a dict, shown":   {`{{ include "f" (dict "context" $) }}`, "-- app/templates/_f.tpl --\n{{ define \"f\" }}{{ if toYaml .context }}{{ end }}{{ end }}\n", render.Consulted{Capabilities: true, IsUpgrade: true}},
		"merged and shown":   {`{{ if merge (dict) . | toYaml }}{{ end }}`, "", render.Consulted{Capabilities: true, IsUpgrade: true}},
		"of a dict":          {`{{ include "f" (dict "context" $) }}`, "-- app/templates/_f.tpl --\n{{ define \"f\" }}{{ .context.Capabilities.KubeVersion }}{{ end }}\n", render.Consulted{Capabilities: true}},
		"a value":            {`{{ tpl .Values.x . }}`, "-- app/values.yaml --\nx: '{{ .Capabilities.KubeVersion.Minor }}'\n", render.Consulted{Capabilities: true}},
		"a harmless value":   {`{{ tpl .Values.x . }}`, "-- app/values.yaml --\nx: '{{ .Release.Name }}'\n", render.Consulted{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out := mustRender(t, chart("#"+strings.ReplaceAll(c.template, "\n", ""), c.more), options())
			if diff := cmp.Diff(c.want, out.Consulted); diff != "" {
				t.Error(diff)
			}
		})
	}
	fsys := chart("")
	fsys["app/Chart.yaml"].Data = append(fsys["app/Chart.yaml"].Data, "kubeVersion: '>=1.20.0'\n"...)
	if out := mustRender(t, fsys, options()); !out.Consulted.Capabilities {
		t.Error("kubeVersion consults capabilities")
	}
}

func TestIsUpgradeAndCapabilities(t *testing.T) {
	fsys := chart(configMap(`"{{ .Release.IsUpgrade }} {{ .Release.Revision }} {{ .Capabilities.KubeVersion }} {{ .Capabilities.APIVersions.Has "a/v1" }}"`))
	o := options()
	o.IsUpgrade, o.Capabilities.APIVersions = true, []string{"a/v1"}
	if got := data(t, mustRender(t, fsys, o)); got != "true 1 v1.36.0 true" {
		t.Errorf("k = %q", got)
	}
}

func TestEndlessTemplates(t *testing.T) {
	endless := map[string]string{
		"range":   `{{ range 1000000000000 }}xxxxxxxxxxxxxxxx{{ end }}`,
		"silent":  `{{ range 1000000000000000 }}{{ end }}`,
		"nesting": `{{ range 100000 }}{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}{{ end }}`,
	}
	if name, child := os.LookupEnv("ENDLESS"); child {
		// What is left running must not outlive this test.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := helm.Render(ctx, chart(configMap(endless[name])), options())
		kind := mizzen.KindOf(err)
		if kind != mizzen.Timeout && kind != mizzen.TooLarge || !strings.Contains(err.Error(), "look for a range") {
			t.Errorf("%s: error = %v, want a bound with a remedy", name, err)
		}
		return
	}
	for name := range endless {
		runAgain(t, "ENDLESS="+name)
	}
}
