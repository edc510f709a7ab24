package mizzen

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// handOver names fields that a controller legitimately writes into objects
// that come from Git. Once such a manager owns the field, it is neither drift
// nor foreign, and later applies leave it out.
type handOver struct {
	// kinds is empty for every kind.
	kinds []schema.GroupKind
	// path is the field, or a parent of it; "[]" stands for any list element.
	path string
	// managers are field managers; empty means every one but interactive tools.
	managers []string
}

// handOvers is the whole list. A field belongs here only if its controller
// cannot work without writing it.
var handOvers = []handOver{
	// The HorizontalPodAutoscaler writes through the scale subresource as
	// kube-controller-manager; KEDA scales to and from zero by itself. Any kind
	// with a scale subresource may be their target.
	{path: "spec.replicas", managers: []string{"kube-controller-manager", "keda", "keda-operator"}},
	// istiod turns its own webhooks from Ignore to Fail once it can serve them.
	{kinds: webhookKinds, path: "webhooks[].failurePolicy", managers: []string{"pilot-discovery"}},
	// Trust in a webhook's certificate is injected by whoever issues it: istiod,
	// cert-manager's cainjector, kube-webhook-certgen, or the operator itself.
	{kinds: webhookKinds, path: "webhooks[].clientConfig.caBundle"},
	{kinds: kind("apiextensions.k8s.io", "CustomResourceDefinition"), path: "spec.conversion.webhook.clientConfig.caBundle"},
	{kinds: kind("apiregistration.k8s.io", "APIService"), path: "spec.caBundle"},
	// Token and registry controllers list what they made for the account.
	{kinds: kind("", "ServiceAccount"), path: "secrets"},
	{kinds: kind("", "ServiceAccount"), path: "imagePullSecrets"},
	// An aggregated ClusterRole gets its rules from the roles it selects.
	{kinds: kind("rbac.authorization.k8s.io", "ClusterRole"), path: "rules", managers: []string{"clusterrole-aggregation-controller"}},
	// Binding: the scheduler, the volume controllers and provisioners decide.
	{kinds: kind("", "Pod"), path: "spec.nodeName", managers: []string{"kube-scheduler"}},
	{kinds: kind("", "PersistentVolumeClaim"), path: "spec.volumeName", managers: []string{"kube-controller-manager"}},
	{kinds: kind("", "PersistentVolume"), path: "spec.claimRef", managers: []string{"kube-controller-manager"}},
	// Kueue admits a Job by lifting its suspension.
	{kinds: kind("batch", "Job"), path: "spec.suspend", managers: []string{"kueue", "kueue-job-controller"}},
}

var webhookKinds = []schema.GroupKind{
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"},
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"},
}

func kind(group, name string) []schema.GroupKind {
	return []schema.GroupKind{{Group: group, Kind: name}}
}

// interactive are the prefixes of field managers that stand for a person with
// a tool, or for another engine that applies Git. They never get a field for
// which no manager is named.
var interactive = []string{
	"kubectl", "k9s", "Lens", "OpenLens", "Headlamp", "headlamp", "dashboard", "Mozilla", "oc", "helm", "Helm",
	"argocd", "kustomize-controller", "helm-controller", "terraform", "Terraform", "pulumi", "Python-urllib", "curl",
}

// HandedOver tells whether manager may own the field of a kind for good
// although the object comes from Git: a HorizontalPodAutoscaler's replicas, a
// CA bundle that cert-manager injects. List elements in path may be written by
// index or by key; a path below a handed-over field counts as well.
func HandedOver(gk schema.GroupKind, path Path, manager string) bool {
	_, ok := HandOverOf(gk, path, manager)
	return ok
}

// HandOverOf is HandedOver and names the rule that applies: fields of one rule
// are written by their controller together.
func HandOverOf(gk schema.GroupKind, path Path, manager string) (rule string, ok bool) {
	plain := ""
	for _, h := range handOvers {
		if len(h.kinds) > 0 && !slices.Contains(h.kinds, gk) || !h.allows(manager) {
			continue
		}
		if plain == "" {
			plain = withoutIndexes(string(path))
		}
		rest, found := strings.CutPrefix(plain, h.path)
		if found && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return h.path, true
		}
	}
	return "", false
}

func (h handOver) allows(manager string) bool {
	if len(h.managers) > 0 {
		return slices.Contains(h.managers, manager)
	}
	return !IsInteractive(manager)
}

// IsInteractive tells whether a field manager stands for a person with a tool
// such as kubectl, or for another engine that applies manifests, rather than
// for a controller that computes the field.
func IsInteractive(manager string) bool {
	return manager == "" || slices.ContainsFunc(interactive, func(prefix string) bool {
		rest, ok := strings.CutPrefix(manager, prefix)
		return ok && (rest == "" || !isLetter(rest[0]))
	})
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// withoutIndexes empties every pair of brackets: a[0].b["x"] becomes a[].b[].
func withoutIndexes(path string) string {
	var b strings.Builder
	inside, quoted := false, false
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case !inside:
			b.WriteByte(c)
			inside = c == '['
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			b.WriteByte(c)
			inside = false
		}
	}
	return b.String()
}
