package live

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

// EventType says what happened to an object of ours.
type EventType string

// The types of Events. All but Touched and Removed are drift.
const (
	// Gone: the object was deleted, and not by us; one of the same name that
	// is not ours may stand in its place.
	Gone EventType = "Gone"
	// Changed: our entry in managedFields is another one, or went: somebody
	// changed, took or deleted a field of ours. It is also sent when the entry
	// turns back by itself, and for an object of ours that appeared without
	// Expect: another process of this installation applied it.
	Changed EventType = "Changed"
	// Foreign: somebody owns a field that is not in Git, outside of metadata
	// and status. It is drift if Event.Exclusive, and else worth a Finding. It is
	// told once, and again after the next write of ours if it is still there; what
	// comes together with Changed is told after that write alone.
	Foreign EventType = "Foreign"
	// Unlabelled: the object is there, but its label mizzen.dev/managed is not.
	Unlabelled EventType = "Unlabelled"
	// Touched: anything else, such as a new status: a reason to judge health.
	Touched EventType = "Touched"
	// Removed: the object that ExpectGone told of is gone.
	Removed EventType = "Removed"
)

// Event is what happened to one object of ours.
type Event struct {
	Type  EventType
	Ref   mizzen.Ref
	Owner mizzen.Name
	// Exclusive tells whether foreign fields of the kind are taken away.
	Exclusive bool
	// Managers, of Changed and Foreign, are the field managers who did it, as
	// far as managedFields tell: sorted, and possibly empty for Changed.
	Managers []string
	// Fields, of Changed and Foreign, are the fields that the Managers own and
	// we do not: sorted, at most 32. List elements are named by their keys. A
	// field that was deleted is nobody's, so it is not among them.
	Fields []mizzen.Path
}

// String is for logs.
func (e Event) String() string {
	s := string(e.Type) + " " + e.Ref.String()
	if len(e.Managers) > 0 {
		s += fmt.Sprintf(" by %q: %q", e.Managers, e.Fields)
	}
	return s
}

func (e *Event) blame(fields []foreignField) {
	for _, f := range fields {
		e.Managers = append(e.Managers, f.manager)
		if len(f.path) > 0 {
			e.Fields = append(e.Fields, pathOf(f.path))
		}
	}
	slices.Sort(e.Managers)
	slices.Sort(e.Fields)
	e.Managers, e.Fields = slices.Compact(e.Managers), slices.Compact(e.Fields)
}

// Handler takes the news of a Watcher. Its functions are called from several
// goroutines and must return at once: hand over to a queue. Each may be nil.
type Handler struct {
	// Event takes what happened to an object. Events of one object come in the
	// order in which they happened.
	Event func(Event)
	// Watching tells when a kind can no longer be watched, by an error of Kind
	// Forbidden, NotFound or other, and with nil when it can again. It is
	// called once for each change, however often the watch is tried.
	Watching func(kind schema.GroupKind, err error)
	// Reachable tells when the API server cannot be reached, by an error of
	// Kind Unreachable or Timeout, and with nil when it can again.
	Reachable func(err error)
	// Kinds tells that a CRD came, changed or went, once discovery knows.
	Kinds func(kind schema.GroupResource)
}

// Entry is what the watch last saw of an object of ours.
type Entry struct {
	UID   types.UID
	Owner mizzen.Name
	// Managed is the ManagedHash of our entry; empty if the entry is gone.
	Managed string
	// Handed tells that Managed differs from what was expected by nothing but
	// fields that were handed over.
	Handed bool
	// Foreign tells that somebody else owns fields outside of metadata and
	// status that are not in Git.
	Foreign    bool
	Generation int64
	// Deleting tells that it is about to go: it waits for finalizers, or we
	// deleted it.
	Deleting bool
}

// Applied is what the watch has to know of an object that we wrote.
type Applied struct {
	UID types.UID
	// Managed is the ManagedHash of our entry.
	Managed string
	// ResourceVersion is that of the API server's answer: an event that is
	// older says nothing about what we wrote. Without it every event counts.
	ResourceVersion string
}
