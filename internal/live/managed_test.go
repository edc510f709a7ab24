package live

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

const ourManager = "mizzen"

var (
	deploymentKind = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	configMapKind  = schema.GroupKind{Kind: "ConfigMap"}
)

func apply(manager, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1",
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func update(manager, subresource, fields string, at time.Time) metav1.ManagedFieldsEntry {
	e := apply(manager, fields)
	e.Operation, e.Subresource = metav1.ManagedFieldsOperationUpdate, subresource
	e.Time = &metav1.Time{Time: at}
	return e
}

func hashOf(t *testing.T, entries ...metav1.ManagedFieldsEntry) string {
	t.Helper()
	h, ok := ManagedHash(entries, ourManager)
	if !ok {
		t.Fatal("no entry")
	}
	return h
}

func TestManagedHash(t *testing.T) {
	ports := apply(ourManager, `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":8080,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},"f:x":{}}}`)
	reordered := apply(ourManager, `{"f:spec":{"f:x":{},"f:ports":{"k:{\"protocol\":\"TCP\",\"port\":8080}":{"f:port":{},".":{}},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}`)
	want := hashOf(t, ports)
	// The value is stored in inventories, so it must never change.
	if golden := "7f56158a8b912310"; want != golden {
		t.Errorf("hash is %s, want %s", want, golden)
	}

	later := ports
	later.Time = &metav1.Time{Time: time.Unix(1, 0)}
	same := map[string][]metav1.ManagedFieldsEntry{
		"other order":    {reordered},
		"later":          {later},
		"with strangers": {update("kubectl", "", `{"f:spec":{"f:y":{}}}`, time.Now()), ports, update(ourManager, "status", `{"f:status":{}}`, time.Now())},
	}
	for name, entries := range same {
		if got := hashOf(t, entries...); got != want {
			t.Errorf("%s: hash is %s, want %s", name, got, want)
		}
	}

	otherVersion := ports
	otherVersion.APIVersion = "v2"
	different := map[string]metav1.ManagedFieldsEntry{
		"API version":   otherVersion,
		"field lost":    apply(ourManager, strings.Replace(ports.FieldsV1.GetRawString(), `,"f:x":{}`, "", 1)),
		"key changed":   apply(ourManager, strings.ReplaceAll(ports.FieldsV1.GetRawString(), "8080", "8081")),
		"now a parent":  apply(ourManager, strings.Replace(ports.FieldsV1.GetRawString(), `"f:x":{}`, `"f:x":{"f:y":{}}`, 1)),
		"nested deeper": apply(ourManager, `{"f:spec":`+ports.FieldsV1.GetRawString()+`}`),
		"empty":         apply(ourManager, `{}`),
	}
	for name, e := range different {
		if got := hashOf(t, e); got == want {
			t.Errorf("%s: hash did not change", name)
		}
	}

	for name, e := range map[string]metav1.ManagedFieldsEntry{
		"another's":  apply("mizzen-other", `{}`),
		"an update":  update(ourManager, "", `{}`, time.Now()),
		"unreadable": apply(ourManager, `{"x:`),
	} {
		if _, ok := ManagedHash([]metav1.ManagedFieldsEntry{e}, ourManager); ok {
			t.Errorf("%s counts as our entry", name)
		}
	}
}

// Sums of weak hashes collide for neighboring names; these must not.
func TestManagedHashNeighbors(t *testing.T) {
	a := hashOf(t, apply(ourManager, `{"f:data":{"f:k1":{},"f:k4":{}}}`))
	b := hashOf(t, apply(ourManager, `{"f:data":{"f:k2":{},"f:k3":{}}}`))
	if a == b {
		t.Error("k1+k4 and k2+k3 have the same hash")
	}
}

func TestForeign(t *testing.T) {
	const ours = `{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:selector":{},"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{},"f:env":{"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}}}}}}}}`
	cases := []struct {
		name   string
		gk     schema.GroupKind
		entry  metav1.ManagedFieldsEntry
		want   []string
		warned bool
	}{
		{"foreign label", deploymentKind, update("kubectl-label", "", `{"f:metadata":{"f:labels":{"f:team":{}}}}`, time.Now()), nil, false},
		{"status", deploymentKind, update("kube-controller-manager", "status", `{"f:status":{"f:replicas":{}}}`, time.Now()), nil, false},
		{"status without subresource", deploymentKind, update("x", "", `{"f:status":{"f:replicas":{}}}`, time.Now()), nil, false},
		{"same fields", deploymentKind, apply("other", ours), nil, false},
		{"parents of our fields", deploymentKind, update("kubectl-create", "", `{"f:spec":{".":{},"f:template":{".":{},"f:spec":{".":{},"f:containers":{".":{},"k:{\"name\":\"web\"}":{".":{},"f:image":{}}}}}}}`, time.Now()), nil, false},
		{"field", deploymentKind, update("kubectl-edit", "", `{"f:spec":{"f:paused":{}}}`, time.Now()), []string{"kubectl-edit spec.paused"}, false},
		{"below an empty map of ours", deploymentKind, update("kubectl-edit", "", `{"f:spec":{"f:selector":{"f:matchLabels":{"f:x":{}}}}}`, time.Now()), []string{"kubectl-edit spec.selector.matchLabels"}, false},
		{
			"container", deploymentKind, update("kubectl-edit", "", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"bad\"}":{".":{},"f:image":{},"f:name":{}}},"f:volumes":{".":{},"k:{\"name\":\"v\"}":{".":{},"f:name":{}}}}}}}`, time.Now()),
			[]string{"kubectl-edit spec.template.spec.containers[name=bad]", "kubectl-edit spec.template.spec.volumes"},
			true,
		},
		{
			"variable", deploymentKind, update("kubectl-set", "", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{"f:env":{"k:{\"name\":\"B\"}":{".":{},"f:name":{},"f:value":{}}}}}}}}}`, time.Now()),
			[]string{"kubectl-set spec.template.spec.containers[name=web].env[name=B]"},
			true,
		},
		{"replicas of an HPA", schema.GroupKind{Group: "apps", Kind: "StatefulSet"}, update("kube-controller-manager", "scale", `{"f:spec":{"f:replicas":{}}}`, time.Now()), nil, false},
		{"admission webhooks of our own request", deploymentKind, update(ourManager, "", `{"f:spec":{"f:paused":{}}}`, time.Now()), nil, false},
		{"unreadable", deploymentKind, update("x", "", `{"f:`, time.Now()), nil, false},
	}
	c := offline(t, nil)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			o := &metav1.PartialObjectMetadata{}
			o.ManagedFields = []metav1.ManagedFieldsEntry{apply(ourManager, ours), tc.entry}
			ref := mizzen.Ref{Group: tc.gk.Group, Kind: tc.gk.Kind, Namespace: "shop", Name: "web"}
			changes := c.Foreign(ref, o)
			var got []string
			for _, f := range changes {
				got = append(got, f.Manager+" "+string(f.Path))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			worst := mizzen.Worst(Findings(ref, changes))
			if want := len(tc.want) > 0; (worst != "") != want || (worst == mizzen.Warning) != tc.warned {
				t.Errorf("worst finding is %q", worst)
			}
		})
	}
}

func TestForeignOfFullObject(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"ports": []any{
			map[string]any{"port": int64(80), "name": "http"},
			map[string]any{"port": int64(90), "name": "debug", "protocol": "TCP"},
		}, "list": []any{"a", "b"}},
	}}
	o.SetManagedFields([]metav1.ManagedFieldsEntry{
		apply(ourManager, `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},"f:list":{"v:\"a\"":{}}}}`),
		update("kubectl-edit", "", `{"f:spec":{"f:ports":{"k:{\"port\":90,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:name":{}}},"f:list":{"v:\"b\"":{}},"f:gone":{}}}`, time.Now()),
	})
	got := offline(t, nil).Foreign(mizzen.Ref{Kind: "Service", Name: "web"}, o)
	want := []mizzen.FieldChange{
		{Path: "spec.list[1]", Before: "b", Manager: "kubectl-edit"},
		{Path: "spec.ports[1]", Before: map[string]any{"port": int64(90), "name": "debug", "protocol": "TCP"}, Manager: "kubectl-edit"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	secret := offline(t, nil).Foreign(mizzen.Ref{Kind: "Secret", Name: "web"}, o)
	for _, f := range secret {
		if f.Before != nil {
			t.Errorf("%s of a Secret is shown: %v", f.Path, f.Before)
		}
	}
}

func TestHandedIsExplained(t *testing.T) {
	full := `{"f:spec":{"f:paused":{},"f:replicas":{}}}`
	less := `{"f:spec":{"f:paused":{}}}`
	known := parse(deploymentKind, []metav1.ManagedFieldsEntry{apply(ourManager, full)}, ourManager).hash
	explained := func(entries ...metav1.ManagedFieldsEntry) bool {
		p := parse(deploymentKind, entries, ourManager)
		return (&facts{hash: p.hash, entered: p.has, handed: p.handed()}).explains(known)
	}
	scale := `{"f:spec":{"f:replicas":{}}}`
	if !explained(apply(ourManager, less), update("kube-controller-manager", "scale", scale, time.Now())) {
		t.Error("replicas taken by the HPA count as drift")
	}
	if explained(apply(ourManager, less), update("kubectl", "scale", scale, time.Now())) {
		t.Error("replicas taken by kubectl count as handed over")
	}
	if explained(apply(ourManager, `{"f:spec":{}}`), update("kube-controller-manager", "scale", scale, time.Now())) {
		t.Error("the HPA explains more than the replicas")
	}

	webhook := schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}
	hook := func(fields string) string { return `{"f:webhooks":{"k:{\"name\":\"a.b\"}":{".":{},` + fields + `}}}` }
	known = parse(webhook, []metav1.ManagedFieldsEntry{apply(ourManager, hook(`"f:failurePolicy":{},"f:name":{}`))}, ourManager).hash
	p := parse(webhook, []metav1.ManagedFieldsEntry{
		apply(ourManager, hook(`"f:name":{}`)),
		update("pilot-discovery", "", hook(`"f:clientConfig":{"f:caBundle":{}},"f:failurePolicy":{}`), time.Now()),
	}, ourManager)
	if !(&facts{hash: p.hash, entered: p.has, handed: p.handed()}).explains(known) {
		t.Error("istiod's failurePolicy counts as drift")
	}
	if got := p.foreign(); len(got) > 0 {
		t.Errorf("istiod's fields count as foreign: %v", got)
	}
}

func FuzzManagedFields(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"f:spec":{"f:x":{".":{}}}}`, `{"f:a":{"k:{\"name\":\"x\"}":{".":{}},"v:1":{},"i:0":{}}}`,
		`{"k:{}":{}}`, `{"v:":{}}`, `{"i:-1":{}}`, `{"f:metadata":{"f:labels":{}}}`, `{".":{}}`, `{"f:":{}}`,
	} {
		f.Add(seed, `{"f:spec":{"f:y":{}}}`)
	}
	c := offline(f, nil)
	f.Fuzz(func(t *testing.T, ours, theirs string) {
		entries := []metav1.ManagedFieldsEntry{apply(ourManager, ours), update("kubectl", "", theirs, time.Unix(0, 0))}
		first, ok := ManagedHash(entries, ourManager)
		again, okAgain := ManagedHash(entries, ourManager)
		if ok != okAgain || first != again {
			t.Errorf("hash is %q, then %q", first, again)
		}
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"y": []any{"a"}}}}
		o.SetManagedFields(entries)
		for _, field := range c.Foreign(mizzen.Ref{Group: "apps", Kind: "Deployment", Name: "x"}, o) {
			_ = field.Path.Parent()
		}
		p := parse(deploymentKind, entries, ourManager)
		p.latest()
		p.handed()
	})
}
