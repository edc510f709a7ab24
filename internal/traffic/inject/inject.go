// Package inject tells which pods get a sidecar, and from which revision of
// Istio, as the API server decides it: by the webhooks that Istio's charts and
// 'istioctl tag' install. A revision tag is one of them, so that it is followed
// without being named.
//
// Rendered objects come in, answers go out. It is pure, and links nothing of
// Istio.
package inject

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"mizzen.dev/mizzen"
)

// DefaultRevision is that of a control plane without a name of its own.
const DefaultRevision = "default"

// RevisionLabel says which control plane, or which tag, an object belongs to.
const RevisionLabel = "istio.io/rev"

// tagLabel names the tag that a webhook configuration stands for.
const tagLabel = "istio.io/tag"

// Relevant tells whether an object of this identity may be a webhook of
// injection.
func Relevant(r mizzen.Ref) bool {
	return r.Group == admission.GroupName && r.Kind == "MutatingWebhookConfiguration" && strings.HasPrefix(r.Name, "istio-")
}

// Injectors are the webhooks of a mesh. The zero value has none.
type Injectors struct{ webhooks []webhook }

// Injection is who injects a pod.
type Injection struct {
	// Revision is that of the control plane, such as "default"; Tag the name that
	// stands for it, empty if it is called by its own.
	Revision, Tag string
	// Ref is the webhook configuration that matched.
	Ref    mizzen.Ref
	Origin mizzen.Origin
}

type webhook struct {
	Injection
	namespaces, pods labels.Selector
}

// Of returns the webhooks among objects. One that cannot be read, which the API
// server would refuse, is left out.
func Of(objects []mizzen.Object) Injectors {
	var in Injectors
	for _, o := range objects {
		if Relevant(o.Ref()) && o.GetLabels()["app"] == "sidecar-injector" {
			in.webhooks = append(in.webhooks, read(o)...)
		}
	}
	// The API server asks them by the names of their configurations, and the
	// first to inject a pod has it.
	slices.SortStableFunc(in.webhooks, func(a, b webhook) int { return cmp.Compare(a.Ref.Name, b.Ref.Name) })
	return in
}

func read(o mizzen.Object) []webhook {
	list, _, _ := unstructured.NestedSlice(o.Object, "webhooks") // what is no list has no webhooks
	var all []webhook
	for _, item := range list {
		content, _ := item.(map[string]any)
		var w admission.MutatingWebhook
		if runtime.DefaultUnstructuredConverter.FromUnstructured(content, &w) != nil {
			continue
		}
		namespaces, err := selector(w.NamespaceSelector)
		if err != nil {
			continue
		}
		pods, err := selector(w.ObjectSelector)
		if err != nil {
			continue
		}
		all = append(all, webhook{
			Injection: Injection{
				Revision: cmp.Or(o.GetLabels()[RevisionLabel], DefaultRevision), Tag: o.GetLabels()[tagLabel],
				Ref: o.Ref(), Origin: o.Origins.Object,
			},
			namespaces: namespaces, pods: pods,
		})
	}
	return all
}

// selector reads one as a webhook has it: none takes everything.
func selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(s)
}

// Known tells whether there are any. If not, nobody can tell who is injected.
func (in Injectors) Known() bool { return len(in.webhooks) > 0 }

// Find returns who injects a pod with some labels in a namespace with its own;
// ok is false if nobody does.
func (in Injectors) Find(namespace string, own, pod map[string]string) (_ Injection, ok bool) {
	all := labels.Set{}
	maps.Copy(all, own)
	all[corev1.LabelMetadataName] = namespace // the API server sets it
	for _, w := range in.webhooks {
		if w.namespaces.Matches(all) && w.pods.Matches(labels.Set(pod)) {
			return w.Injection, true
		}
	}
	return Injection{}, false
}

// Namespace returns who injects the pods of a namespace that say nothing about
// it themselves. Where no webhook is known its labels tell: a tag cannot be told
// from a revision then.
func (in Injectors) Namespace(name string, own map[string]string) (_ Injection, ok bool) {
	if in.Known() {
		return in.Find(name, own, nil)
	}
	switch injection := own["istio-injection"]; {
	case injection == "enabled":
		return Injection{Revision: DefaultRevision}, true
	case injection == "" && own[RevisionLabel] != "":
		return Injection{Revision: own[RevisionLabel]}, true
	}
	return Injection{}, false
}
