package live

import (
	"crypto/sha256"
	"strconv"
	"strings"
	"unique"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

// key names an object within its kind.
type key struct {
	namespace unique.Handle[string]
	name      string
}

func keyOf(namespace, name string) key { return key{unique.Make(namespace), name} }

// entry is all that is kept of an object of ours, for as long as it lives: two
// hundred bytes, map and strings included. The metadata themselves, which are
// ten times as large, are dropped as soon as they are hashed.
type entry struct {
	key   key
	kind  *kindWatch
	owner *ownerList
	// next and prev link the entries of one owner.
	next, prev *entry

	uid [16]byte
	// seen is the hash of our managedFields entry in the last event, known the
	// one that the engine knows of: because it wrote it, or was told.
	seen, known uint64
	// foreign is the hash of the foreign fields in the last event, told the one
	// that the engine was told of.
	foreign, told uint64
	// version is the resource version of the last event, awaited the one of
	// our last write: older events are stale.
	version, awaited uint64
	generation       int64

	// present is false before the first event and after a DELETED.
	present bool
	// entered tells whether there was an entry of ours in the last event.
	entered bool
	// handed tells that seen and known differ by handed-over fields alone.
	handed   bool
	deleting bool
	// leaving tells that we deleted it.
	leaving bool
}

// exists tells whether the object was seen last, or was written and is yet to
// be seen.
func (e *entry) exists() bool { return e.present || e.awaited > 0 }

func (e *entry) ref() mizzen.Ref {
	return mizzen.Ref{Group: e.kind.gk.Group, Kind: e.kind.gk.Kind, Namespace: e.key.namespace.Value(), Name: e.key.name}
}

// ownerList holds the entries of one Application, and what waits for the end
// of its sync.
type ownerList struct {
	name  mizzen.Name
	first *entry
	// busy counts the Begins without End.
	busy int
	// held are the last facts of objects with events during a sync; nil facts
	// mean that the object was deleted.
	held map[*entry]*facts
}

func (o *ownerList) link(e *entry) {
	e.owner, e.next, e.prev = o, o.first, nil
	if o.first != nil {
		o.first.prev = e
	}
	o.first = e
}

func (e *entry) unlink() {
	o := e.owner
	if o == nil {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		o.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	delete(o.held, e)
	e.owner, e.next, e.prev = nil, nil, nil
}

// facts is what one event says of an object, computed once and outside of any
// lock. Its ObjectMeta holds the name, UID and resource version alone; it makes
// facts an object that a Reflector can keep while it reads the first list, so
// that not even then all metadata are in memory.
type facts struct {
	metav1.ObjectMeta
	key       key
	uid       [16]byte
	version   uint64
	owner     mizzen.Name
	ownership Ownership

	hash    uint64
	entered bool
	handed  []uint64
	foreign []foreignField
	latest  []foreignField
	// foreignHash is that of all foreign fields with their managers, 0 for none.
	foreignHash uint64
}

func (k *kindWatch) factsOf(o *metav1.PartialObjectMetadata) *facts {
	name := strings.Clone(o.Name)
	f := &facts{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: o.Namespace, UID: o.UID, ResourceVersion: o.ResourceVersion,
			Generation: o.Generation, DeletionTimestamp: o.DeletionTimestamp,
		},
		key:     keyOf(o.Namespace, name),
		uid:     compactUID(o.UID),
		version: versionOf(o.ResourceVersion),
	}
	ref := mizzen.Ref{Group: k.gk.Group, Kind: k.gk.Kind, Namespace: o.Namespace, Name: name}
	f.owner, f.ownership = owner(k.w.c.installation, ref, o)
	p := parse(k.gk, o.ManagedFields, k.w.c.manager)
	f.hash, f.entered = p.hash, p.has
	f.foreign = p.foreign()
	for _, field := range f.foreign {
		h := pathHash(field.path)
		for _, c := range []byte(field.manager) {
			h = h*1099511628211 ^ uint64(c)
		}
		f.foreignHash += h
	}
	if len(p.strangers) > 0 {
		f.handed, f.latest = p.handed(), p.latest()
	}
	return f
}

// compactUID halves a UID. Kubernetes' are UUIDs; any other form is hashed.
func compactUID(uid types.UID) [16]byte {
	if id, err := uuid.Parse(string(uid)); err == nil && id.String() == string(uid) {
		return id
	}
	var short [16]byte
	sum := sha256.Sum256([]byte(uid))
	copy(short[:], sum[:])
	return short
}

// versionOf reads a resource version. They are numbers that grow (KEP-5504);
// one of another form counts as 0, which is older than nothing.
func versionOf(s string) uint64 {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return v
}
