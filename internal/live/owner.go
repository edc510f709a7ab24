package live

import (
	"bytes"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
)

// Ownership is what an object's metadata say about its owner.
type Ownership string

// The ownerships.
const (
	// Unowned: nothing of Mizzen's is on the object.
	Unowned Ownership = "Unowned"
	// Ours: this installation applied it, for the Application that is named.
	Ours Ownership = "Ours"
	// Another: an installation other than this one applied it.
	Another Ownership = "Another"
	// Copy: the object carries our labels, but was not applied by us under
	// this identity: people copy manifests, EndpointSlices inherit labels.
	Copy Ownership = "Copy"
)

// Owner says whose the object is, which has the identity ref. The name is that
// of the Application for Ours and Another, as far as the object tells.
//
// A label alone proves nothing. Ours is an object whose label names this
// installation, whose annotations name an Application and the object itself,
// and which has an entry of our field manager. If a stranger wrote that name
// over ours, it proves nothing either.
func (c *Cluster) Owner(ref mizzen.Ref, o metav1.Object) (mizzen.Name, Ownership) {
	return owner(c.installation, ref, o)
}

func owner(installation string, ref mizzen.Ref, o metav1.Object) (mizzen.Name, Ownership) {
	managed := o.GetLabels()[mizzen.LabelManaged]
	annotations := o.GetAnnotations()
	name, named := parseName(annotations[mizzen.AnnotationOwner])
	if managed == "" {
		return mizzen.Name{}, Unowned
	}
	if !named || annotations[mizzen.AnnotationIdentity] != ref.String() || !applied(o, mizzen.Manager(managed)) {
		return mizzen.Name{}, Copy
	}
	if managed != installation {
		return name, Another
	}
	return name, Ours
}

func parseName(s string) (mizzen.Name, bool) {
	ns, name, ok := strings.Cut(s, "/")
	if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
		return mizzen.Name{}, false
	}
	return mizzen.Name{Namespace: ns, Name: name}, true
}

// applied tells whether a manager applied the object, and nobody else wrote
// the name of the owner since.
func applied(o metav1.Object, manager string) bool {
	entries := o.GetManagedFields()
	own := ownEntry(entries, manager)
	if own == nil || writesOwner(own) {
		return own != nil
	}
	return !slices.ContainsFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return writesOwner(&e) })
}

// writesOwner tells whether an entry owns the annotation that names the owner.
// A look at the text will do: the name occurs nowhere else.
func writesOwner(e *metav1.ManagedFieldsEntry) bool {
	return e.FieldsV1 != nil && bytes.Contains(e.FieldsV1.GetRawBytes(), ownerField)
}

var ownerField = []byte(`"f:` + mizzen.AnnotationOwner + `"`)

// ownEntry returns the entry of a manager that applies, nil if there is none.
func ownEntry(entries []metav1.ManagedFieldsEntry, manager string) *metav1.ManagedFieldsEntry {
	for i := range entries {
		e := &entries[i]
		if e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" {
			return e
		}
	}
	return nil
}
