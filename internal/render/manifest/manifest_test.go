package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

const twoDocuments = `# a comment
%YAML 1.1
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: first
  labels:
    app.kubernetes.io/name: web
data:
  on: "yes"
--- # the second
apiVersion: v1
kind: ConfigMap
metadata:
  name: second
  annotations: &common
    example.com/team: shop
  labels:
    <<: *common
    tier: front
`

func TestReadObjectsKnowsLines(t *testing.T) {
	objects, findings, err := manifest.ReadObjects("web.yaml", []byte(twoDocuments), true)
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) > 0 {
		t.Errorf("findings: %v", findings)
	}
	got := map[string]int{}
	for _, o := range objects {
		got[o.GetName()] = o.Origins.Object.Line
		for p, origin := range o.Origins.Fields {
			got[o.GetName()+" "+string(p)] = origin.Line
		}
	}
	want := map[string]int{
		"first": 4, "first apiVersion": 4, "first kind": 5, "first metadata": 6, "first metadata.name": 7,
		"first metadata.labels": 8, `first metadata.labels["app.kubernetes.io/name"]`: 9, "first data": 10, "first data.on": 11,
		"second": 13, "second apiVersion": 13, "second kind": 14, "second metadata": 15, "second metadata.name": 16,
		"second metadata.annotations": 17, `second metadata.annotations["example.com/team"]`: 18,
		"second metadata.labels": 19, `second metadata.labels["example.com/team"]`: 18, "second metadata.labels.tier": 21,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantLabels := map[string]string{"example.com/team": "shop", "tier": "front"}
	if diff := cmp.Diff(wantLabels, objects[1].GetLabels()); diff != "" {
		t.Error(diff)
	}
}

func TestValuesAreThoseOfKubectl(t *testing.T) {
	docs, _, err := manifest.Read("v.yaml", []byte("a: yes\nb: 0x10\nc: 1.5\nd: 9007199254740993\ne: 2026-11-21\nf: 1e3\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": true, "b": int64(16), "c": 1.5, "d": int64(9007199254740993), "e": "2026-11-21", "f": int64(1000)}
	if diff := cmp.Diff(any(want), docs[0].Value); diff != "" {
		t.Error(diff)
	}
}

func TestDuplicateKeyIsAFinding(t *testing.T) {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: one\n  k: two\n"
	objects, findings, err := manifest.ReadObjects("cm.yaml", []byte(text), false)
	if err != nil {
		t.Fatal(err)
	}
	if got := objects[0].Object["data"]; !cmp.Equal(got, map[string]any{"k": "two"}) {
		t.Errorf("data = %v, want the last one to count", got)
	}
	want := []mizzen.Finding{{
		Code: mizzen.CodeDuplicateKey, Severity: mizzen.Warning,
		Message: `the key "k" is already on line 6; the last one counts`, Remedy: "remove one of them",
		Ref: mizzen.Ref{Kind: "ConfigMap", Name: "a"}, Path: "data.k", Origin: mizzen.Origin{File: "cm.yaml", Line: 7},
	}}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Error(diff)
	}
}

func TestListIsSplit(t *testing.T) {
	text := `{
	"apiVersion": "v1", "kind": "List", "items": [
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
		{"apiVersion": "v1", "kind": "List", "items": [
			{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}
		]}
	]
}`
	objects, _, err := manifest.ReadObjects("list.json", []byte(text), true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, fmt.Sprintf("%s at %s, name at %s", o.Ref(), o.Origins.Object, o.Origins.Of("metadata.name")))
	}
	want := []string{
		"ConfigMap a at list.json:3, name at list.json:3",
		"Secret b at list.json:5, name at list.json:5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadInput(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	cases := map[string]struct {
		text string
		kind mizzen.Kind
		want string
	}{
		"bomb":           {bomb, mizzen.TooLarge, "f.yaml:7: the document has more than 1000000 nodes once its aliases are expanded"},
		"self":           {"a: &a [*a]\n", mizzen.TooLarge, "f.yaml:1: an alias stands for something that contains it"},
		"depth":          {strings.Repeat("[", 600) + strings.Repeat("]", 600), mizzen.TooLarge, "f.yaml:1: the document is nested deeper than 500 levels"},
		"tokens":         {strings.Repeat("- a\n", 2_000_001), mizzen.TooLarge, "f.yaml:1: a document has more than 2000000 lines"},
		"size":           {strings.Repeat("x", 33<<20), mizzen.TooLarge, "f.yaml: 34603008 bytes are more than"},
		"not UTF-8":      {"a: b\nc: \xff\n", mizzen.Invalid, "f.yaml:2: the text is not UTF-8"},
		"syntax":         {"a: b\n---\na: b\n c: d\n", mizzen.Invalid, "f.yaml:4: invalid YAML: mapping values are not allowed"},
		"scalar":         {"hello\n", mizzen.Invalid, "f.yaml:1: the document is not a mapping"},
		"no kind":        {"\n\napiVersion: v1\nmetadata: {name: a}\n", mizzen.Invalid, "f.yaml:3: no Kubernetes object: without kind"},
		"values file":    {"replicas: 3\n", mizzen.Invalid, "f.yaml:1: no Kubernetes object: without apiVersion and kind"},
		"no name":        {"apiVersion: v1\nkind: Pod\n", mizzen.Invalid, "f.yaml:1: Pod has no metadata.name"},
		"number as name": {"apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n", mizzen.Invalid, "f.yaml:1: Pod has a metadata.name that is not a string"},
		"generateName":   {"---\napiVersion: v1\nkind: Pod\nmetadata: {generateName: job-}\n", mizzen.Refused, "Pod job-* (f.yaml:2): generateName"},
		"end marker":     {"a: b\n...\nc: d\n", mizzen.Invalid, "f.yaml:3: invalid YAML: did not find expected <document start>"},
		"list of text":   {"apiVersion: v1\nkind: List\nitems:\n- a\n", mizzen.Invalid, "f.yaml:4: an element of a List is not a mapping"},
		"no such anchor": {"password: *hunter2\n", mizzen.Invalid, "invalid YAML: unknown anchor … referenced"},
		"value of a tag": {"password: !!int hunter2\n", mizzen.Invalid, "invalid YAML: cannot decode !!str … as a !!int"},
		"value as key":   {"password: {{ hunter2 }}\n", mizzen.Invalid, "invalid YAML: invalid map key: …"},
		"kustomization":  {"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", mizzen.Invalid, "point the Application at the directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := manifest.ReadObjects("f.yaml", []byte(c.text), true)
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

func FuzzReadObjects(f *testing.F) {
	for _, seed := range []string{twoDocuments, "a: &a [*a]", "? [a]\n: b", "--- |\n  x\n", "%TAG ! x\n---\n!foo {}", "{\"kind\":\"List\",\"items\":[null]}", "a: 1\na: 2", "<<: [{a: b}, *x]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, _, err := manifest.ReadObjects("f.yaml", data, true)
		if err != nil {
			if k := mizzen.KindOf(err); k == mizzen.Internal {
				t.Fatalf("not an error for a user: %v", err)
			}
			return
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1 +
			strings.Count(string(data), "\u0085") + strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029")
		for _, o := range objects {
			if o.GetName() == "" || o.GetKind() == "" {
				t.Fatalf("object without identity: %v", o.Object)
			}
			for p, origin := range o.Origins.Fields {
				if origin.Line < 1 || origin.Line > lines {
					t.Fatalf("%s is on line %d of %d", p, origin.Line, lines)
				}
			}
			_ = o.DeepCopy()
		}
	})
}
