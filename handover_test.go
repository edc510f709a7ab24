package mizzen

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestHandedOver(t *testing.T) {
	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	webhook := webhookKinds[0]
	cases := []struct {
		gk      schema.GroupKind
		path    Path
		manager string
		want    bool
	}{
		{deployment, "spec.replicas", "kube-controller-manager", true},
		{deployment, "spec.replicas", "keda", true},
		{deployment, "spec.replicas", "kubectl", false},
		{deployment, "spec.replicasX", "kube-controller-manager", false},
		{deployment, "spec.template", "kube-controller-manager", false},
		{schema.GroupKind{Group: "example.com", Kind: "Widget"}, "spec.replicas", "kube-controller-manager", true},
		{webhook, "webhooks[0].clientConfig.caBundle", "cert-manager-cainjector", true},
		{webhook, `webhooks[name=rev.validation.istio.io].clientConfig.caBundle`, "pilot-discovery", true},
		{webhook, `webhooks[name="a]b.c"].failurePolicy`, "pilot-discovery", true},
		{webhook, "webhooks[0].failurePolicy", "cert-manager-cainjector", false},
		{webhook, "webhooks[0].clientConfig.url", "pilot-discovery", false},
		{webhook, "webhooks[0].clientConfig.caBundle", "kubectl-edit", false},
		{webhook, "webhooks[0].clientConfig.caBundle", "helmsman", true},
		{webhook, "webhooks[0].clientConfig.caBundle", "", false},
		{schema.GroupKind{Kind: "ServiceAccount"}, "secrets[name=x].name", "kube-controller-manager", true},
		{schema.GroupKind{Kind: "Secret"}, "data.x", "kube-controller-manager", false},
	}
	for _, c := range cases {
		if got := HandedOver(c.gk, c.path, c.manager); got != c.want {
			t.Errorf("HandedOver(%s, %s, %q) = %v, want %v", c.gk, c.path, c.manager, got, c.want)
		}
	}
}

func FuzzHandedOver(f *testing.F) {
	f.Add("webhooks[0].clientConfig.caBundle", "x")
	f.Add(`webhooks["\`, "x")
	f.Fuzz(func(_ *testing.T, path, manager string) {
		HandedOver(webhookKinds[0], Path(path), manager)
	})
}
