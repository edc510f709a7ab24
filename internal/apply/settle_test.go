package apply_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
)

// entry is a managedFields entry.
func entry(t *testing.T, fieldManager, operation, fields string) any {
	t.Helper()
	var set map[string]any
	must(t, json.Unmarshal([]byte(fields), &set))
	return map[string]any{"manager": fieldManager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": set}
}

func TestSettle(t *testing.T) {
	const replicas = `{"f:spec":{"f:replicas":{}}}`
	hooks := "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: h}\n" +
		"webhooks: [{name: a, failurePolicy: Ignore}, {name: b, failurePolicy: Ignore, clientConfig: {caBundle: x}}]"
	account := "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nsecrets: [{name: mine}, {name: token}]"
	bare := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {paused: true}"
	scaled := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 3}"
	cases := map[string]struct {
		desired, live string
		entries       []any
		leftOut       []apply.Taken
		release       []mizzen.Path
		sent          string
	}{
		"an autoscaler": {
			desired: scaled, live: scaled, entries: []any{entry(t, "mizzen", "Apply", replicas), entry(t, "kube-controller-manager", "Update", replicas)},
			leftOut: []apply.Taken{{Path: "spec.replicas", Manager: "kube-controller-manager"}},
			sent:    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {}",
		},
		"a person": {desired: scaled, live: scaled, entries: []any{entry(t, "kubectl", "Update", replicas)}, sent: scaled},
		"webhooks in another order": {
			desired: hooks, live: hooks,
			entries: []any{entry(t, "pilot-discovery", "Update", `{"f:webhooks":{"k:{\"name\":\"b\"}":{"f:failurePolicy":{},"f:clientConfig":{"f:caBundle":{}}}}}`)},
			leftOut: []apply.Taken{{Path: "webhooks[1].clientConfig.caBundle", Manager: "pilot-discovery"}, {Path: "webhooks[1].failurePolicy", Manager: "pilot-discovery"}},
			sent: "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: h}\n" +
				"webhooks: [{name: a, failurePolicy: Ignore}, {name: b, clientConfig: {}}]",
		},
		"another installation": {
			desired: hooks, live: hooks, sent: hooks,
			entries: []any{entry(t, "mizzen-other", "Apply", `{"f:webhooks":{"k:{\"name\":\"b\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`)},
		},
		"an element of a list": {
			desired: account, live: account,
			entries: []any{entry(t, "kube-controller-manager", "Update", `{"f:secrets":{"k:{\"name\":\"token\"}":{".":{},"f:name":{}}}}`)},
			leftOut: []apply.Taken{{Path: "secrets[1]", Manager: "kube-controller-manager"}},
			sent:    "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nsecrets: [{name: mine}]",
		},
		"replicas left Git": {
			desired: bare, live: scaled, sent: bare, entries: []any{entry(t, "mizzen", "Apply", replicas)},
			release: []mizzen.Path{"spec.replicas"},
		},
		"replicas left Git and have another owner": {
			desired: bare, live: scaled, sent: bare,
			entries: []any{entry(t, "mizzen", "Apply", replicas), entry(t, "keda", "Update", replicas)},
		},
		"another field left Git": {
			desired: scaled, live: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 3, paused: true}", sent: scaled,
			entries: []any{entry(t, "mizzen", "Apply", `{"f:spec":{"f:replicas":{},"f:paused":{}}}`)},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := &cluster{t: t}
			desired, live := k.parse(c.desired), k.parse(c.live)
			must(t, unstructured.SetNestedSlice(live.Object, c.entries, "metadata", "managedFields"))
			before := desired.DeepCopy()
			got := apply.Settle(desired, live.Unstructured, manager)
			if d := cmp.Diff(c.leftOut, got.LeftOut); d != "" {
				t.Errorf("left out: %s", d)
			}
			if d := cmp.Diff(c.release, got.Release); d != "" {
				t.Errorf("release: %s", d)
			}
			if d := cmp.Diff(k.parse(c.sent).Object, got.Object.Object); d != "" {
				t.Errorf("sent: %s", d)
			}
			if d := cmp.Diff(before.Object, desired.Object); d != "" {
				t.Errorf("the input was changed: %s", d)
			}
		})
	}
}
