package diff

import (
	"bytes"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// CompareOptions says who compares.
type CompareOptions struct {
	// Manager is our field manager, mizzen.Manager of the installation.
	Manager string
	// Masker hides secret values.
	Masker Masker
	// Release lists fields that are handed over because they left Git; it goes
	// into the Change, and dryRun is expected to hold their live values.
	Release []mizzen.Path
	// NotVerified says why there is no answer of the API server; it goes into
	// the Change if there is none.
	NotVerified string
}

// Compare returns what a sync does to one object: live is what the cluster has
// (nil if it has none), dryRun what it would have after desired is applied. A
// nil dryRun means that the API server did not judge the change: then only the
// fields that Git names are compared, and the Change says so.
//
// The Change refers to desired, and is of the action None, Create, Update or,
// where the object's own sync options say so, Skip.
func Compare(desired mizzen.Object, live, dryRun *unstructured.Unstructured, o CompareOptions) mizzen.Change {
	options, _ := mizzen.OptionsOf(desired.Unstructured)
	c := mizzen.Change{
		Ref: desired.Ref(), APIVersion: desired.GetAPIVersion(), Action: mizzen.None,
		Origin: desired.Origins.Object, Content: ContentHash(desired.Unstructured, o.Masker),
		Wave: options.Wave, Options: options, Desired: &desired,
	}
	if live != nil {
		c.UID = string(live.GetUID())
	}
	if dryRun == nil {
		c.NotVerified = o.NotVerified
		if c.NotVerified == "" {
			c.NotVerified = "the API server was not asked"
		}
	}
	switch {
	case options.Policy == mizzen.ApplyIgnore:
		c.Action, c.Reason, c.NotVerified = mizzen.Skip, "the object asks to be ignored", ""
	case live == nil:
		c.Action = mizzen.Create
	case options.Policy == mizzen.ApplyIfNotPresent:
		c.NotVerified = ""
	default:
		o.compareExisting(&c, desired, live, dryRun)
	}
	return c
}

func (o CompareOptions) compareExisting(c *mizzen.Change, desired mizzen.Object, live, dryRun *unstructured.Unstructured) {
	w := newWalker(desired, live, o)
	ownershipMoves := false
	if dryRun != nil {
		w.compare(contentOf(live), contentOf(dryRun))
		if live.GetResourceVersion() != dryRun.GetResourceVersion() {
			w.fields = o.withoutOthers(w.fields, live, dryRun)
		}
		ownershipMoves = !bytes.Equal(ourFields(live, o.Manager), ourFields(dryRun, o.Manager))
	} else {
		w.approximate()
		ownershipMoves = ourFields(live, o.Manager) == nil
	}
	slices.SortStableFunc(w.fields, func(a, b mizzen.FieldChange) int { return strings.Compare(string(a.Path), string(b.Path)) })
	c.Fields = w.fields
	switch {
	case len(c.Fields) > 0 || len(o.Release) > 0:
		c.Action, c.Release = mizzen.Update, o.Release
	case ownershipMoves:
		c.Action, c.Reason = mizzen.Update, "only the ownership of fields changes"
	default:
		c.NotVerified = ""
	}
}

// withoutOthers leaves out what somebody else did to the object between the
// reading and the dry-run: differences of fields that are theirs and not ours.
// Without it a controller at work, such as the one that numbers a Deployment's
// revisions, makes changes appear in a Plan that no sync causes. What is
// nobody's is the API server's own answer to ours, such as a default.
func (o CompareOptions) withoutOthers(fields []mizzen.FieldChange, live, dryRun *unstructured.Unstructured) []mizzen.FieldChange {
	ownBefore, theirsBefore := o.ownedPaths(live)
	ownAfter, theirsAfter := o.ownedPaths(dryRun)
	return slices.DeleteFunc(fields, func(f mizzen.FieldChange) bool {
		own, theirs := ownAfter, theirsAfter
		if f.After == nil {
			own, theirs = ownBefore, theirsBefore
		}
		return touches(theirs, f.Path) && !touches(own, f.Path)
	})
}

// ownedPaths returns the fields that we own, and those that others own.
func (o CompareOptions) ownedPaths(u *unstructured.Unstructured) (own, theirs []mizzen.Path) {
	for _, owner := range mizzen.OwnershipsOf(u) {
		if ours(owner.Manager, owner.Operation, owner.Subresource, o.Manager) {
			own = append(own, owner.Paths(u)...)
		} else {
			theirs = append(theirs, owner.Paths(u)...)
		}
	}
	return own, theirs
}

// touches tells whether one of the paths is at, above or below p.
func touches(paths []mizzen.Path, p mizzen.Path) bool {
	return slices.ContainsFunc(paths, func(own mizzen.Path) bool { return within(own, p) || within(p, own) })
}

func within(inner, outer mizzen.Path) bool {
	rest, ok := strings.CutPrefix(string(inner), string(outer))
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// ourFields returns our set of applied fields as the API server writes it,
// which is a function of the set; nil if we applied nothing.
func ourFields(u *unstructured.Unstructured, manager string) []byte {
	for _, entry := range u.GetManagedFields() {
		if ours(entry.Manager, entry.Operation, entry.Subresource, manager) && entry.FieldsV1 != nil {
			return entry.FieldsV1.GetRawBytes()
		}
	}
	return nil
}

func ours(name string, operation metav1.ManagedFieldsOperationType, subresource, manager string) bool {
	return name == manager && operation == metav1.ManagedFieldsOperationApply && subresource == ""
}

// contentOf returns an object without what is never desired: status, and what
// the API server keeps about the object.
func contentOf(u *unstructured.Unstructured) map[string]any {
	c := cloneMap(u.Object)
	for _, field := range []string{"apiVersion", "kind", "status"} {
		delete(c, field)
	}
	if metadata, ok := c["metadata"].(map[string]any); ok {
		metadata = cloneMap(metadata)
		for _, field := range serverFields {
			delete(metadata, field)
		}
		c["metadata"] = metadata
	}
	return c
}
