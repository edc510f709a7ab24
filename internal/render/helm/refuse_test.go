package helm_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/helm"
)

// runAgain runs the calling test in a process of its own.
func runAgain(t *testing.T, env string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", env, err, out)
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		fsys   fstest.MapFS
		files  []string
		values map[string]any
		kind   mizzen.Kind
		want   string
	}{
		"no such path":        {fsys: repository("-- x.yaml --\n"), kind: mizzen.NotFound, want: "app: no such directory"},
		"no Chart.yaml":       {fsys: repository("-- app/values.yaml --\n"), kind: mizzen.Invalid, want: "app/Chart.yaml: Chart.yaml file is missing"},
		"bad Chart.yaml":      {fsys: repository("-- app/Chart.yaml --\na: b\n c: d\n"), kind: mizzen.Invalid, want: "app/Chart.yaml:2: invalid YAML"},
		"bad values":          {fsys: chart("", "-- app/values.yaml --\na: b\n c: d\n"), kind: mizzen.Invalid, want: "app/values.yaml:2: invalid YAML"},
		"bomb":                {fsys: chart("", "-- app/values.yaml --\n"+bomb()), kind: mizzen.TooLarge, want: "once its aliases are expanded"},
		"missing dependency":  {fsys: chart("", "-- app/Chart.yaml --\napiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- name: db\n  version: 1.0.0\n"), kind: mizzen.NotFound, want: "chart db (app/Chart.yaml:5): it is a dependency in Chart.yaml, but not in charts/; run `helm dependency build app`"},
		"library":             {fsys: chart("", "-- app/Chart.yaml --\napiVersion: v2\nname: app\nversion: 1.0.0\ntype: library\n"), kind: mizzen.Invalid, want: "a chart of type library renders nothing"},
		"kubeVersion":         {fsys: chart("", "-- app/Chart.yaml --\napiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '<1.20.0'\n"), kind: mizzen.Invalid, want: "the chart wants Kubernetes <1.20.0, the cluster has v1.36.0"},
		"API version":         {fsys: chart("", "-- app/Chart.yaml --\napiVersion: v3\nname: app\nversion: 1.0.0\n"), kind: mizzen.Invalid, want: "charts of apiVersion v3 are not supported"},
		"values outside":      {fsys: chart(""), files: []string{"../../values.yaml"}, kind: mizzen.Refused, want: "values file ../../values.yaml: the path leads out of the repository"},
		"values far outside":  {fsys: chart(""), files: []string{"/../values.yaml"}, kind: mizzen.Refused, want: "the path leads out of the repository"},
		"remote values":       {fsys: chart(""), files: []string{"https://joe:hunter2@example.com/v.yaml"}, kind: mizzen.Refused, want: "values file https://joe:xxxxx@example.com/v.yaml: it is remote"},
		"values missing":      {fsys: chart(""), files: []string{"gone.yaml"}, kind: mizzen.NotFound, want: "values file app/gone.yaml: it is not in the repository"},
		"values list":         {fsys: chart("", "-- app/l.yaml --\n- a\n"), files: []string{"l.yaml"}, kind: mizzen.Invalid, want: "app/l.yaml:1: values are not a mapping"},
		"schema":              {fsys: chart("", "-- app/values.schema.json --\n"+`{"properties": {"port": {"type": "integer"}, "password": {"pattern": "^x"}}}`), values: map[string]any{"port": "a", "password": "hunter2"}, kind: mizzen.Invalid, want: "values of chart app: at '/"},
		"remote schema":       {fsys: chart("", "-- app/values.schema.json --\n"+`{"$ref": "https://example.com/s.json"}`), kind: mizzen.Refused, want: "its $ref to https://example.com/s.json would be fetched, and a rendering has no network; copy the schema"},
		"schema of a file":    {fsys: chart("", "-- app/values.schema.json --\n"+`{"$ref": "file:///etc/passwd"}`), kind: mizzen.Refused, want: "would be fetched"},
		"bad template":        {fsys: chart("a: b\n{{ if }}"), kind: mizzen.Invalid, want: "app/templates/x.yaml:2: template: app/templates/x.yaml:2: missing value for if"},
		"failing template":    {fsys: chart("a: b\n\n{{ fail \"set a host\" }}"), kind: mizzen.Invalid, want: "app/templates/x.yaml:3: execution error at (app/templates/x.yaml:3:3): set a host"},
		"required value":      {fsys: chart("{{ required \"host is required\" .Values.host }}"), kind: mizzen.Invalid, want: "host is required"},
		"failing define":      {fsys: chart("{{ include \"f\" . }}", "-- app/templates/_f.tpl --\n{{ define \"f\" }}\n{{ .Values.a.b.c }}{{ end }}\n"), kind: mizzen.Invalid, want: "app/templates/_f.tpl:2: "},
		"failing tpl":         {fsys: chart("{{ tpl .Values.t . }}"), values: map[string]any{"t": "hunter2 {{ .a.b.c }}"}, kind: mizzen.Invalid, want: "tpl function execution for …"},
		"unparsable tpl":      {fsys: chart("{{ tpl .Values.t . }}"), values: map[string]any{"t": "hunter2 {{ if }}"}, kind: mizzen.Invalid, want: "cannot parse template …"},
		"fail with a value":   {fsys: chart(`{{ fail (printf "%s: %q is too short" .Values.host .Values.auth.adminPassword) }}`), values: map[string]any{"host": "db.example", "auth": map[string]any{"adminPassword": "hunter2\"x"}}, kind: mizzen.Invalid, want: `db.example: "***" is too short`},
		"function of a value": {fsys: chart("{{ mustRegexMatch .Values.token \"x\" }}"), values: map[string]any{"token": "(hunter2"}, kind: mizzen.Invalid, want: "error parsing regexp: missing closing ): `***`"},
		"unknown function":    {fsys: chart("{{ frobnicate }}"), kind: mizzen.Invalid, want: `app/templates/x.yaml:1: parse error at (app/templates/x.yaml:1): function "frobnicate" not defined`},
		"prints bad YAML":     {fsys: chart("a: b\n c: d"), kind: mizzen.Invalid, want: "app/templates/x.yaml: line 2 of what the template prints: invalid YAML"},
		"prints no object":    {fsys: chart("a: b"), kind: mizzen.Invalid, want: "app/templates/x.yaml: line 1 of what the template prints: no Kubernetes object"},
		"generateName":        {fsys: chart("{apiVersion: v1, kind: Pod, metadata: {generateName: x-}}"), kind: mizzen.Refused, want: "generateName"},
		"repeat":              {fsys: chart(configMap("{{ repeat 1000000000 \"x\" }}")), kind: mizzen.Invalid, want: "more than the 16777216 allowed"},
		"until":               {fsys: chart(configMap("{{ until 1000000000 }}")), kind: mizzen.Invalid, want: "longer than the 1000000 allowed"},
		"seq":                 {fsys: chart(configMap("{{ seq 1 1000000000 }}")), kind: mizzen.Invalid, want: "longer than the 1000000 numbers allowed"},
		"indent":              {fsys: chart(configMap("{{ indent 1000000000 \"x\" }}")), kind: mizzen.Invalid, want: "cannot indent by 1000000000"},
		"random":              {fsys: chart(configMap("{{ randAlphaNum 1000000000 }}")), kind: mizzen.Invalid, want: "more than the 16777216 allowed"},
		"include of itself":   {fsys: chart(`{{ include "f" . }}`, "-- app/templates/_f.tpl --\n{{ define \"f\" }}{{ include \"f\" . }}{{ end }}\n"), kind: mizzen.Invalid, want: "nested reference name: f"},
		"file in charts":      {fsys: chart("", "-- app/charts/README.md --\nhello\n"), kind: mizzen.Invalid, want: "app/charts/README.md/Chart.yaml: Chart.yaml file is missing"},
		"bad archive":         {fsys: chart("", "-- app/charts/db-1.tgz --\nhello\n"), kind: mizzen.Invalid, want: "app/charts/db-1.tgz: unpack the chart"},
		"large file":          {fsys: chart("", "-- app/data.bin --\n"+strings.Repeat("x", 6<<20)), kind: mizzen.TooLarge, want: "app/data.bin: the file is larger than 5 MiB"},
		"bad .helmignore":     {fsys: chart("", "-- app/.helmignore --\n**/x\n"), kind: mizzen.Invalid, want: "app/.helmignore: double-star"},
		"dependency's values": {fsys: repository(withDependencies), values: map[string]any{"db": "hunter2"}, kind: mizzen.Invalid, want: "chart app (app/Chart.yaml): dependencies: type mismatch on db"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.ValuesFiles, o.Values = c.files, c.values
			_, err := helm.Render(t.Context(), c.fsys, o)
			var e *mizzen.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want a mizzen.Error", err)
			}
			if e.Kind != c.kind || !strings.Contains(err.Error(), c.want) || e.Remedy == "" {
				t.Errorf("%s error = %v\nwant %s with %q and a remedy", e.Kind, err, c.kind, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v tells a secret", err)
			}
		})
	}
}

// bomb is a few lines that stand for billions of nodes.
func bomb() string {
	text := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		alias := "*" + string(c-1)
		text += string(c) + ": &" + string(c) + " [" + strings.Repeat(alias+",", 8) + alias + "]\n"
	}
	return text
}
