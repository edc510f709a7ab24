package helm_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/corpus"
)

var update = flag.Bool("update", false, "write golden files")

const originChart = `
-- app/Chart.yaml --
apiVersion: v2
name: app
version: 1.0.0
-- app/values.yaml --
name: web
image: {repository: shop/web, tag: "1.0"}
resources:
  limits:
    cpu: 100m
ports:
- 80
replicas: 2
db: {port: 1}
-- prod.yaml --
# for prod
replicas: 3
-- app/templates/_labels.tpl --
{{- define "labels" -}}
app: {{ .Values.name }}
tier: front
{{- end -}}
-- app/templates/web.yaml --
# the deployment
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Values.name }}
  labels:
    {{- include "labels" . | nindent 4 }}
  annotations:
    checksum: {{ include "labels" . | sha256sum }}
    release: "{{ .Release.Name }}"
spec:
{{- if gt (int .Values.replicas) 1 }}
  replicas: {{ .Values.replicas }}
{{- end }}
  template:
    spec:
      {{- with .Values.resources }}
      inner: {{ .limits.cpu }}
      {{- end }}
      containers:
      - name: web
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
        tag: {{ .Values.image.tag | quote }}
        pullPolicy: {{ .Values.pullPolicy | default "Always" }}
        resources:
          {{- toYaml .Values.resources | nindent 10 }}
        ports: {{ toJson .Values.ports }}
        script: |
          echo {{ .Values.name }}
-- app/charts/db/Chart.yaml --
{apiVersion: v2, name: db, version: 1.0.0}
-- app/charts/db/values.yaml --
port: 5432
host: db
-- app/charts/db/templates/cm.yaml --
{apiVersion: v1, kind: ConfigMap, metadata: {name: db}, data: {port: "{{ .Values.port }}", host: {{ .Values.host }}}}
`

func TestOrigins(t *testing.T) {
	o := options()
	o.FieldOrigins, o.ValuesFiles = true, []string{"/prod.yaml"}
	out := mustRender(t, repository(originChart), o)
	got := map[string]string{}
	for _, object := range out.Objects {
		got[object.GetName()] = object.Origins.Object.String()
		for p, at := range object.Origins.Fields {
			line := at.String()
			if at.Key != "" {
				line += " " + at.Key
			}
			for _, via := range at.Via {
				line += " " + via.String()
			}
			got[object.GetName()+" "+string(p)] = line
		}
	}
	const web, container = "app/templates/web.yaml:", "web spec.template.spec.containers[0]"
	want := map[string]string{
		"web": web + "2", "web apiVersion": web + "2", "web kind": web + "3", "web metadata": web + "4",
		"web metadata.name":                 web + "5 name app/values.yaml:1",
		"web metadata.labels":               web + "6",
		"web metadata.labels.app":           "app/templates/_labels.tpl:2",
		"web metadata.labels.tier":          "app/templates/_labels.tpl:3",
		"web metadata.annotations":          web + "8",
		"web metadata.annotations.checksum": web + "9",
		"web metadata.annotations.release":  web + "10",
		"web spec":                          web + "11",
		"web spec.replicas":                 web + "13 replicas prod.yaml:2",
		"web spec.template":                 web + "15",
		"web spec.template.spec":            web + "16",
		"web spec.template.spec.inner":      web + "18",
		"web spec.template.spec.containers": web + "20",
		container:                           web + "21",
		container + ".name":                 web + "21",
		container + ".image":                web + "22",
		container + ".tag":                  web + "23 image.tag app/values.yaml:2",
		container + ".pullPolicy":           web + "24",
		container + ".resources":            web + "25",
		container + ".resources.limits":     web + "26",
		container + ".resources.limits.cpu": web + "26 resources.limits.cpu app/values.yaml:5",
		container + ".ports":                web + "27",
		container + ".ports[0]":             web + "27 ports[0] app/values.yaml:7",
		container + ".script":               web + "28",
		"db":                                "app/charts/db/templates/cm.yaml:1",
		"db apiVersion":                     "app/charts/db/templates/cm.yaml:1",
		"db kind":                           "app/charts/db/templates/cm.yaml:1",
		"db metadata":                       "app/charts/db/templates/cm.yaml:1",
		"db metadata.name":                  "app/charts/db/templates/cm.yaml:1",
		"db data":                           "app/charts/db/templates/cm.yaml:1",
		"db data.port":                      "app/charts/db/templates/cm.yaml:1 db.port app/values.yaml:9",
		"db data.host":                      "app/charts/db/templates/cm.yaml:1 db.host app/charts/db/values.yaml:2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestOriginsOfRealCharts counts what is known, and holds every line that is
// told against the text that stands there.
func TestOriginsOfRealCharts(t *testing.T) {
	var summary strings.Builder
	fmt.Fprintf(&summary, "%-60s %7s %7s %7s %7s\n", "chart", "fields", "exact", "unknown", "keys")
	for _, c := range realCharts {
		out := c.render(t, true)
		files := sources{fsys: os.DirFS(corpus.Module(t, c.module)), lines: map[string][]string{}}
		n := count(t, out, files)
		fmt.Fprintf(&summary, "%-60s %7d %7d %7d %7d\n", c.name(), n.exact+n.unknown, n.exact, n.unknown, n.keys)
	}
	const golden = "testdata/origins.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(summary.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), summary.String()); diff != "" {
		t.Errorf("run with -update and read the difference:\n%s", diff)
	}
}

type counts struct{ exact, unknown, keys int }

func count(t *testing.T, out *render.Output, files sources) counts {
	t.Helper()
	var n counts
	for _, o := range out.Objects {
		values := map[mizzen.Path]string{}
		leaves("", o.Object, values)
		for p, at := range o.Origins.Fields {
			switch {
			case at.Line == 0:
				n.unknown++
				continue
			case at.Key != "":
				n.keys++
			}
			n.exact++
			line := files.line(t, at)
			written := strings.Contains(line, "{{") || strings.Contains(line, lastName(p)) || strings.HasPrefix(strings.TrimSpace(line), "-")
			if !written && (values[p] == "" || !strings.Contains(line, values[p])) {
				t.Errorf("%s %s is said to be on %s, where stands %q", o.Ref(), p, at, line)
			}
			for _, via := range at.Via {
				if line := files.line(t, via); !strings.Contains(line, lastName(mizzen.Path(at.Key))) && !strings.Contains(line, "-") {
					t.Errorf("%s %s is said to be set on %s by %s, where stands %q", o.Ref(), p, via, at.Key, line)
				}
			}
		}
	}
	return n
}

// leaves collects the scalars below v.
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

// lastName returns the last name of a path.
func lastName(p mizzen.Path) string {
	s := string(p)
	return strings.Trim(s[strings.LastIndexAny(s, `.["`+"]")+1:], `"]`)
}

type sources struct {
	fsys  fs.FS
	lines map[string][]string
}

func (s sources) line(t *testing.T, at mizzen.Origin) string {
	t.Helper()
	if s.lines[at.File] == nil {
		data, err := fs.ReadFile(s.fsys, at.File)
		if err != nil {
			t.Fatal(err)
		}
		scanner := bufio.NewScanner(bytes.NewReader(data))
		scanner.Buffer(nil, 8<<20)
		for scanner.Scan() {
			s.lines[at.File] = append(s.lines[at.File], scanner.Text())
		}
	}
	if at.Line > len(s.lines[at.File]) {
		t.Fatalf("%s has %d lines", at, len(s.lines[at.File]))
	}
	return s.lines[at.File][at.Line-1]
}

func TestOriginsAreTheSameEveryTime(t *testing.T) {
	i := slices.IndexFunc(realCharts, func(c realChart) bool { return c.values != "" })
	first, second := realCharts[i].render(t, true), realCharts[i].render(t, true)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}
