package inject_test

import (
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// webhooks are those of istiod's chart 1.31.0 with the values revision: canary
// and revisionTags: [default, prod], and one that is not about injection.
const webhooks = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-canary, labels: {app: sidecar-injector, istio.io/rev: canary}}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: In, values: [canary]}, {key: istio-injection, operator: DoesNotExist}]}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}]}
- name: rev.object.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: DoesNotExist}, {key: istio-injection, operator: DoesNotExist}]}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}, {key: istio.io/rev, operator: In, values: [canary]}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-revision-tag-prod, labels: {app: sidecar-injector, istio.io/rev: canary, istio.io/tag: prod}}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: In, values: [prod]}, {key: istio-injection, operator: DoesNotExist}]}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-revision-tag-default, labels: {app: sidecar-injector, istio.io/rev: canary, istio.io/tag: default}}
webhooks:
- name: namespace.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: istio-injection, operator: In, values: [enabled]}]}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}]}
- name: object.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: istio-injection, operator: DoesNotExist}, {key: istio.io/rev, operator: DoesNotExist}]}
  objectSelector: {matchExpressions: [{key: sidecar.istio.io/inject, operator: In, values: ["true"]}, {key: istio.io/rev, operator: DoesNotExist}]}
- name: auto.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [auto]}]}
- name: broken.sidecar-injector.istio.io
  namespaceSelector: {matchExpressions: [{key: a, operator: Sometimes}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-other, labels: {app: other}}
webhooks: [{name: takes.everything.io}]
`

func TestFind(t *testing.T) {
	in := inject.Of(meshtest.Objects(t, webhooks))
	type set = map[string]string
	for _, c := range []struct {
		name, namespace string
		own, pod        set
		want            string
	}{
		{name: "no labels", want: "nobody"},
		{name: "a revision", own: set{"istio.io/rev": "canary"}, want: "canary"},
		{name: "a tag", own: set{"istio.io/rev": "prod"}, want: "canary by prod"},
		{name: "a revision that is not there", own: set{"istio.io/rev": "stable"}, want: "nobody"},
		{name: "the old label, by the tag default", own: set{"istio-injection": "enabled"}, want: "canary by default"},
		{name: "the old label has the word", own: set{"istio-injection": "disabled", "istio.io/rev": "prod"}, want: "nobody"},
		{name: "a pod stays out", own: set{"istio.io/rev": "prod"}, pod: set{"sidecar.istio.io/inject": "false"}, want: "nobody"},
		{name: "a pod asks", pod: set{"sidecar.istio.io/inject": "true"}, want: "canary by default"},
		{name: "a pod names a revision", pod: set{"istio.io/rev": "canary"}, want: "canary"},
		{name: "by the name of the namespace", namespace: "auto", want: "canary by default"},
	} {
		got := "nobody"
		if by, ok := in.Find(c.namespace, c.own, c.pod); ok {
			got = by.Revision
			if by.Tag != "" {
				got += " by " + by.Tag
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Without webhooks the labels tell as much as they can.
func TestNamespaceWithoutWebhooks(t *testing.T) {
	in := inject.Of(meshtest.Objects(t, "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: istio-x, labels: {app: sidecar-injector}}\nwebhooks: 3\n"))
	if in.Known() {
		t.Error("nonsense is known")
	}
	for labels, want := range map[[2]string]string{
		{"istio-injection", "enabled"}: "default", {"istio-injection", "disabled"}: "", {"istio.io/rev", "prod"}: "prod", {"a", "b"}: "",
	} {
		by, ok := in.Namespace("shop", map[string]string{labels[0]: labels[1]})
		if by.Revision != want || ok != (want != "") {
			t.Errorf("%v: %q %v, want %q", labels, by.Revision, ok, want)
		}
	}
}

func TestRelevant(t *testing.T) {
	for _, c := range []struct {
		kind, name string
		want       bool
	}{
		{"MutatingWebhookConfiguration", "istio-revision-tag-prod", true},
		{"MutatingWebhookConfiguration", "cert-manager", false},
		{"ValidatingWebhookConfiguration", "istio-validator", false},
	} {
		if got := inject.Relevant(mizzen.Ref{Group: "admissionregistration.k8s.io", Kind: c.kind, Name: c.name}); got != c.want {
			t.Errorf("%s %s: %v", c.kind, c.name, got)
		}
	}
}
