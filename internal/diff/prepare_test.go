package diff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

func parse(t *testing.T, text string) mizzen.Object {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	// Unlike encoding/json this keeps int64, and unlike UnmarshalJSON it does
	// not insist on a kind.
	if err := json.Unmarshal(b, &u.Object); err != nil {
		t.Fatal(err)
	}
	return mizzen.Object{Unstructured: u, Origins: mizzen.Origins{Object: mizzen.Origin{File: "app.yaml", Line: 1}}}
}

func parseAll(t *testing.T, text string) []mizzen.Object {
	t.Helper()
	var objects []mizzen.Object
	for i, doc := range strings.Split(text, "\n---\n") {
		obj := parse(t, doc)
		obj.Origins.Object.Line = 1 + 10*i
		objects = append(objects, obj)
	}
	return objects
}

func scope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	switch gvk.Kind {
	case "Namespace", "ClusterRole", "CustomResourceDefinition":
		return false, true
	case "Widget", "Gadget", "Unknown":
		return false, false
	}
	return true, true
}

func options() PrepareOptions {
	return PrepareOptions{Application: mizzen.Name{Namespace: "team", Name: "web"}, Installation: "prod", Namespace: "shop", Scope: scope}
}

func prepareAll(t *testing.T, text string) ([]mizzen.Object, []mizzen.Finding) {
	t.Helper()
	objects := parseAll(t, text)
	before := make([]map[string]any, len(objects))
	for i, o := range objects {
		before[i] = o.DeepCopy().Object
	}
	prepared, findings, err := Prepare(objects, options())
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		if d := cmp.Diff(before[i], o.Object); d != "" {
			t.Errorf("Prepare changed its input:\n%s", d)
		}
	}
	return prepared, findings
}

func TestPrepareMarks(t *testing.T) {
	prepared, findings := prepareAll(t, `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  creationTimestamp: null
  resourceVersion: "7"
  uid: x
  managedFields: []
  labels: {app: web}
spec:
  template:
    metadata: {labels: {app: web}}
status: {replicas: 3}`)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{
			"name": "web", "namespace": "shop",
			"labels": map[string]any{"app": "web", "mizzen.dev/managed": "prod"},
			"annotations": map[string]any{
				"mizzen.dev/owner":    "team/web",
				"mizzen.dev/identity": "apps/Deployment shop/web",
			},
		},
		"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}}},
	}
	if d := cmp.Diff(want, prepared[0].Object); d != "" {
		t.Error(d)
	}
}

func TestPrepareScope(t *testing.T) {
	prepared, findings := prepareAll(t, `
apiVersion: v1
kind: Namespace
metadata: {name: shop, namespace: other}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec: {group: example.com, scope: Namespaced, names: {kind: Widget, plural: widgets}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w, namespace: ""}
---
apiVersion: example.com/v1
kind: Unknown
metadata: {name: u}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: elsewhere}`)
	var refs []string
	for _, o := range prepared {
		refs = append(refs, o.Ref().String())
	}
	want := []string{
		"Namespace shop", "apiextensions.k8s.io/CustomResourceDefinition widgets.example.com",
		"example.com/Widget shop/w", "example.com/Unknown u", "ConfigMap elsewhere/c",
	}
	if d := cmp.Diff(want, refs); d != "" {
		t.Error(d)
	}
	if len(findings) != 1 || findings[0].Code != mizzen.CodeClusterScopedNamespace || findings[0].Severity != mizzen.Warning {
		t.Errorf("findings: %v", findings)
	}
}

func TestPrepareRefuses(t *testing.T) {
	cases := map[string]struct {
		text string
		code mizzen.Code
		says string
	}{
		"generateName":      {"apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}", mizzen.CodeGenerateName, "created anew"},
		"no name":           {"apiVersion: v1\nkind: Pod\nmetadata: {}", mizzen.CodeInvalidMetadata, "no name"},
		"no metadata":       {"apiVersion: v1\nkind: Pod", mizzen.CodeInvalidMetadata, "no name"},
		"metadata list":     {"apiVersion: v1\nkind: Pod\nmetadata: [a]", mizzen.CodeInvalidMetadata, "not a mapping"},
		"no apiVersion":     {"kind: Pod\nmetadata: {name: x}", mizzen.CodeMissingField, "no apiVersion"},
		"name is a number":  {"apiVersion: v1\nkind: Pod\nmetadata: {name: 5}", mizzen.CodeInvalidMetadata, "not a string"},
		"upper case":        {"apiVersion: v1\nkind: Pod\nmetadata: {name: Web}", mizzen.CodeInvalidMetadata, `"Web"`},
		"path escape":       {"apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: ../x}", mizzen.CodeInvalidMetadata, "../x"},
		"bad namespace":     {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: a/b}", mizzen.CodeInvalidMetadata, "a/b"},
		"namespace number":  {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: 7}", mizzen.CodeInvalidMetadata, "not a string"},
		"label is bool":     {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: true}}", mizzen.CodeInvalidMetadata, `"x" is not a string`},
		"bad label value":   {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: a b}}", mizzen.CodeInvalidMetadata, `"x" under labels`},
		"bad annotation":    {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {a b: x}}", mizzen.CodeInvalidMetadata, `"a b" under annotations`},
		"labels are a list": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: [x]}", mizzen.CodeInvalidMetadata, "labels is not a mapping"},
		"long annotations": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {a: " + strings.Repeat("x", 262145) + "}}",
			mizzen.CodeInvalidMetadata, "262146 bytes",
		},
		"secret number":     {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {pin: 4711}", mizzen.CodeWrongType, "not a string"},
		"secret not base64": {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {pin: 'hunter2!'}", mizzen.CodeInvalidValue, "not base64"},
		"secret data list":  {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: [hunter2]", mizzen.CodeWrongType, "not a mapping"},
		"twice": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}",
			mizzen.CodeDuplicateObject, "at app.yaml:1 and at app.yaml:11",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, findings := prepareAll(t, c.text)
			if len(findings) != 1 {
				t.Fatalf("findings: %v", findings)
			}
			f := findings[0]
			if f.Code != c.code || f.Severity != mizzen.Fatal || !strings.Contains(f.Message, c.says) || f.Remedy == "" || f.Origin.File != "app.yaml" {
				t.Errorf("finding: %+v", f)
			}
			for _, secret := range []string{"4711", "hunter2"} {
				if strings.Contains(f.Message, secret) {
					t.Errorf("finding shows a secret: %s", f.Message)
				}
			}
		})
	}
}

func TestPrepareSecret(t *testing.T) {
	obj := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: \"b25l\\nbGluZQ==\", b: b2xk}\nstringData: {b: new, c: x}")
	obj.Origins.Fields = map[mizzen.Path]mizzen.Origin{"stringData.c": {File: "s.yaml", Line: 7}}
	prepared, findings, err := Prepare([]mizzen.Object{obj}, options())
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	want := map[string]any{"a": "b25lbGluZQ==", "b": "bmV3", "c": "eA=="}
	if d := cmp.Diff(want, prepared[0].Object["data"]); d != "" {
		t.Error(d)
	}
	if _, ok := prepared[0].Object["stringData"]; ok {
		t.Error("stringData is left")
	}
	if at := prepared[0].Origins.Of("data.c"); at.Line != 7 {
		t.Errorf("origin of data.c: %v", at)
	}
}

func TestPrepareDuplicateListKeys(t *testing.T) {
	obj := parse(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - name: old
      - name: app
        image: v1
      - name: app
        image: v2
        env: [{name: A, value: "1"}, {name: B, value: "2"}, {name: A, value: "3"}]
        ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}, {containerPort: 80, protocol: TCP}]
`)
	const containers = mizzen.Path("spec.template.spec.containers")
	obj.Origins.Fields = map[mizzen.Path]mizzen.Origin{
		containers.Index(1).Key("image"): {File: "d.yaml", Line: 10},
		containers.Index(2).Key("image"): {File: "d.yaml", Line: 12},
	}
	prepared, findings, err := Prepare([]mizzen.Object{obj}, options())
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := unstructured.NestedFieldNoCopy(prepared[0].Object, "spec", "template", "spec", "containers")
	want := []any{
		map[string]any{"name": "old"},
		map[string]any{
			"name": "app", "image": "v2",
			"env": []any{map[string]any{"name": "B", "value": "2"}, map[string]any{"name": "A", "value": "3"}},
			"ports": []any{
				map[string]any{"containerPort": int64(80), "protocol": "UDP"}, map[string]any{"containerPort": int64(80), "protocol": "TCP"},
			},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(findings) != 3 {
		t.Errorf("findings: %v", findings)
	}
	for _, f := range findings {
		if f.Code != mizzen.CodeDuplicateListKey || f.Severity != mizzen.Warning {
			t.Errorf("finding: %v", f)
		}
	}
	if at := prepared[0].Origins.Of(containers.Index(1).Key("image")); at.Line != 12 {
		t.Errorf("origin of the kept image: %v", at)
	}
}

func TestPrepareDuplicateConditions(t *testing.T) {
	const twice = "[{name: a, expression: 'false'}, {name: a, expression: 'true'}]"
	for kind, spec := range map[string]string{
		"ValidatingWebhookConfiguration": "webhooks: [{name: w, matchConditions: " + twice + "}]",
		"MutatingWebhookConfiguration":   "webhooks: [{name: w, matchConditions: " + twice + "}]",
		"ValidatingAdmissionPolicy":      "spec: {variables: " + twice + "}",
		"MutatingAdmissionPolicy":        "spec: {matchConditions: " + twice + "}",
	} {
		obj := parse(t, "apiVersion: admissionregistration.k8s.io/v1\nkind: "+kind+"\nmetadata: {name: p}\n"+spec)
		_, findings, err := Prepare([]mizzen.Object{obj}, options())
		if err != nil || len(findings) != 1 || findings[0].Code != mizzen.CodeDuplicateListKey {
			t.Errorf("%s: %v, %v", kind, findings, err)
		}
	}
}

func TestPrepareOptionsFinding(t *testing.T) {
	_, findings := prepareAll(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {mizzen.dev/sync-wave: soon, argocd.argoproj.io/sync-options: 'Prune=false,Explode=true'}}")
	var messages []string
	for _, f := range findings {
		messages = append(messages, f.Message)
	}
	want := []string{
		`annotation argocd.argoproj.io/sync-options names the unknown option "Explode=true"`,
		`annotation mizzen.dev/sync-wave is "soon", not a whole number`,
	}
	if d := cmp.Diff(want, messages); d != "" {
		t.Error(d)
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"a":"b"}}`)
	f.Add(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"template":{"spec":{"containers":[{"name":"x"},{"name":"x","env":[1,{"name":null}]}]}}}}`)
	f.Add(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":7},"spec":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var object map[string]any
		if json.Unmarshal([]byte(text), &object) != nil || object == nil {
			return
		}
		objects := []mizzen.Object{{Unstructured: &unstructured.Unstructured{Object: object}}, {}}
		prepared, findings, err := Prepare(objects, options())
		if err != nil {
			t.Fatal(err)
		}
		if len(prepared) == 0 && mizzen.Worst(findings) != mizzen.Fatal {
			t.Error("an object vanished without a word")
		}
		DefinesKind(objects, schema.GroupVersionKind{})
		again, _, _ := Prepare(prepared, options())
		for i := range again {
			if d := cmp.Diff(prepared[i].Object, again[i].Object); d != "" {
				t.Errorf("preparing twice is not preparing once:\n%s", d)
			}
		}
	})
}
