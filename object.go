package mizzen

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Ref identifies an object within one cluster. The version is left out on
// purpose: apps/v1 and apps/v1beta1 of one name are the same object.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// GroupKind returns the kind with its group.
func (r Ref) GroupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.Kind} }

// String returns "apps/Deployment shop/web", "ConfigMap shop/web" for the core
// group, and "Namespace shop" for an object without a namespace.
func (r Ref) String() string {
	var b strings.Builder
	if r.Group != "" {
		b.WriteString(r.Group)
		b.WriteByte('/')
	}
	b.WriteString(r.Kind)
	b.WriteByte(' ')
	if r.Namespace != "" {
		b.WriteString(r.Namespace)
		b.WriteByte('/')
	}
	b.WriteString(r.Name)
	return b.String()
}

// ParseRef is the inverse of Ref.String. ok is false if s is not of that form.
func ParseRef(s string) (r Ref, ok bool) {
	kind, name, found := strings.Cut(s, " ")
	if !found || kind == "" || name == "" || strings.Contains(name, " ") {
		return Ref{}, false
	}
	if group, k, grouped := strings.Cut(kind, "/"); grouped {
		r.Group, kind = group, k
	}
	r.Kind = kind
	if ns, n, namespaced := strings.Cut(name, "/"); namespaced {
		r.Namespace, name = ns, n
	}
	r.Name = name
	return r, r.Kind != "" && r.Name != ""
}

// CompareRefs orders by group, kind, namespace and name.
func CompareRefs(a, b Ref) int {
	return cmp.Or(
		cmp.Compare(a.Group, b.Group),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	)
}

// Object is one rendered Kubernetes object, with where it was written.
type Object struct {
	*unstructured.Unstructured
	Origins Origins
}

// Ref returns the identity of the object.
func (o Object) Ref() Ref { return RefOf(o.Unstructured) }

// RefOf returns the identity of an unstructured object.
func RefOf(u *unstructured.Unstructured) Ref {
	gvk := u.GroupVersionKind()
	return Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// SortObjects orders objects by identity, in place.
func SortObjects(objects []Object) {
	// Reading an identity is most of the work: each is read once.
	type named struct {
		ref    Ref
		object Object
	}
	list := make([]named, 0, len(objects))
	for _, o := range objects {
		list = append(list, named{o.Ref(), o})
	}
	slices.SortStableFunc(list, func(a, b named) int { return CompareRefs(a.ref, b.ref) })
	for i, n := range list {
		objects[i] = n.object
	}
}
