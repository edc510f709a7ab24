package mizzen

import (
	"cmp"
	"slices"
)

// Action is what a sync does to an object.
type Action string

// The actions.
const (
	// None: the cluster already has it.
	None Action = "none"
	// Create: the object does not exist.
	Create Action = "create"
	// Update: fields of the object change in place.
	Update Action = "update"
	// Replace: the object is deleted and created again, because it asks for it.
	Replace Action = "replace"
	// Delete: the object left Git and is pruned.
	Delete Action = "delete"
	// Keep: the object left Git but stays, no longer managed.
	Keep Action = "keep"
	// Skip: nothing is done now, for the reason in Change.Reason.
	Skip Action = "skip"
)

// Writes tells whether the action changes the cluster.
func (a Action) Writes() bool {
	return a == Create || a == Update || a == Replace || a == Delete || a == Keep
}

// Change is what a sync does to one object. It holds no secret: values of
// Secrets are replaced by a keyed hash before they get here.
type Change struct {
	Ref        Ref    `json:"ref"`
	APIVersion string `json:"apiVersion"`
	Action     Action `json:"action"`
	// Fields is what differs, sorted by path. For Create and Delete it is empty.
	Fields []FieldChange `json:"fields,omitempty"`
	// Reason says why an object is kept or skipped.
	Reason string `json:"reason,omitempty"`
	// NotVerified says why the API server did not judge the change beforehand;
	// empty if it did, or if there is nothing to judge.
	NotVerified string `json:"notVerified,omitempty"`
	Origin      Origin `json:"origin,omitzero"`
	// Content is a hash of what is to be applied, keyed for Secrets: the same
	// content gives the same hash. It is empty for Delete and Keep.
	Content string `json:"content,omitempty"`
	// Wave is the sync wave; lower ones come first.
	Wave int `json:"wave,omitempty"`

	// Desired is what to apply. It is not part of a written Plan, since it may
	// hold a secret.
	Desired *Object `json:"-"`
	// Strip lists fields that strangers added to an object of an exclusive
	// kind and that the sync takes away again; they are in Fields too.
	Strip []Path `json:"-"`
	// Displace lists list elements of strangers that stand in the way of ours,
	// such as a port that was renumbered: the API server refuses both together,
	// so they go in the very request that brings ours. They are in Fields too.
	Displace []Path `json:"-"`
	// Release lists hand-over fields that left Git: ownership is given up so
	// that they keep their value instead of falling back to a default.
	Release []Path `json:"release,omitempty"`
	// Options is what the object asks about its own syncing.
	Options SyncOptions `json:"-"`
	// UID is the live object that was judged, so that no other one of the same
	// name is changed; empty if there was none.
	UID string `json:"-"`
}

// FieldChange is the difference of one field. An absent value is nil.
type FieldChange struct {
	Path   Path `json:"path"`
	Before any  `json:"before,omitempty"`
	After  any  `json:"after,omitempty"`
	// Manager owns the field now, if it is not us.
	Manager string `json:"manager,omitempty"`
	Origin  Origin `json:"origin,omitzero"`
}

// SortChanges orders by identity, in place.
func SortChanges(changes []Change) {
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(CompareRefs(a.Ref, b.Ref), cmp.Compare(a.Action, b.Action))
	})
}
