package live

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

// Watcher watches the metadata of the objects that this installation applied
// to a cluster, and tells when one of them leaves the state it was applied in.
// It is safe for concurrent use.
type Watcher struct {
	c       *Cluster
	handler Handler
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	outage  outage
	// jitter returns a random duration below its argument.
	jitter func(time.Duration) time.Duration
	// verifying bounds the checks of deleted objects that run at a time.
	verifying chan struct{}

	mu     sync.Mutex
	kinds  map[schema.GroupKind]*kindWatch
	owners map[mizzen.Name]*ownerList
	closed bool
}

// Watch returns a Watcher, which runs until ctx ends or Close is called. It
// watches CustomResourceDefinitions at once, and other kinds as Ensure says.
func (c *Cluster) Watch(ctx context.Context, h Handler) *Watcher {
	w := c.newWatcher(ctx, h)
	w.running.Go(w.watchKinds)
	return w
}

func (c *Cluster) newWatcher(ctx context.Context, h Handler) *Watcher {
	w := &Watcher{
		c:         c,
		handler:   h.filled(),
		jitter:    func(d time.Duration) time.Duration { return rand.N(d) },
		verifying: make(chan struct{}, maxInFlight),
		kinds:     make(map[schema.GroupKind]*kindWatch),
		owners:    make(map[mizzen.Name]*ownerList),
	}
	w.ctx, w.stop = context.WithCancel(ctx)
	return w
}

func (h Handler) filled() Handler {
	if h.Event == nil {
		h.Event = func(Event) {}
	}
	if h.Watching == nil {
		h.Watching = func(schema.GroupKind, error) {}
	}
	if h.Reachable == nil {
		h.Reachable = func(error) {}
	}
	if h.Kinds == nil {
		h.Kinds = func(schema.GroupResource) {}
	}
	return h
}

// Close ends all watches and waits until the last call of the Handler is over.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	w.running.Wait()
}

// spawn runs f, which ends soon after ctx does, unless the Watcher is closed.
// The lock is held.
func (w *Watcher) spawn(f func()) {
	if !w.closed && w.ctx.Err() == nil {
		w.running.Go(f)
	}
}

// Ensure watches the resources, unless it does already, and returns when their
// first lists are in. What is found then counts as known and makes no Events.
// A resource that failed before is tried at once. If one cannot be listed, the
// error says why, and the watch is tried again in the background.
func (w *Watcher) Ensure(ctx context.Context, resources ...Resource) error {
	waits := make([]func(context.Context) error, 0, len(resources))
	for _, r := range resources {
		if !r.Can("watch") || !r.Can("list") {
			continue // such as a SelfSubjectReview: there is nothing to watch
		}
		waits = append(waits, w.ensure(r).ready())
	}
	var first error
	for _, wait := range waits {
		first = cmp.Or(first, wait(ctx))
	}
	return first
}

func (w *Watcher) ensure(r Resource) *kindWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	gk := r.Kind.GroupKind()
	if k := w.kinds[gk]; k != nil {
		return k
	}
	k := newKindWatch(w, r)
	w.kinds[gk] = k
	w.spawn(k.run)
	return k
}

// Failure returns why a kind that was asked for is not watched; nil if it is, or
// if nobody asked.
func (w *Watcher) Failure(gk schema.GroupKind) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.kinds[gk]; k != nil {
		return k.told
	}
	return nil
}

// Synced tells whether the kind is watched and its first list is in: only then
// an object that Lookup does not find is one that does not exist, or is not
// ours.
func (w *Watcher) Synced(gk schema.GroupKind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[gk]
	return k != nil && k.synced
}

// Lookup returns what is known of an object of ours: what was last seen, or
// what Expect told, until that is seen.
func (w *Watcher) Lookup(ref mizzen.Ref) (Entry, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[ref.GroupKind()]
	if k == nil {
		return Entry{}, false
	}
	e := k.entries[keyOf(ref.Namespace, ref.Name)]
	if e == nil || !e.exists() {
		return Entry{}, false
	}
	out := Entry{
		UID: types.UID(uuid.UUID(e.uid).String()), Owner: e.owner.name,
		Handed: e.handed, Foreign: e.foreign != 0, Generation: e.generation, Deleting: e.deleting || e.leaving,
	}
	switch {
	case e.version < e.awaited:
		out.Managed, out.Handed = formatHash(e.known), false
	case e.entered:
		out.Managed = formatHash(e.seen)
	}
	return out, true
}

// Owned returns the objects of an Application that exist, in the versions that
// they are watched in, sorted: also those that no inventory knows of, because
// a crash came between the write and the record.
func (w *Watcher) Owned(owner mizzen.Name) []Target {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owners[owner]
	if o == nil {
		return nil
	}
	var owned []Target
	for e := o.first; e != nil; e = e.next {
		if e.exists() {
			owned = append(owned, Target{Kind: e.kind.resource.Kind, Namespace: e.key.namespace.Value(), Name: e.key.name})
		}
	}
	slices.SortFunc(owned, func(a, b Target) int { return mizzen.CompareRefs(a.Ref(), b.Ref()) })
	return owned
}

// forget removes an entry for good. The lock is held.
func (w *Watcher) forget(e *entry) {
	delete(e.kind.entries, e.key)
	o := e.owner
	e.unlink()
	w.tidy(o)
}

// list returns the owner's list, and makes it if there is none. The lock is
// held.
func (w *Watcher) list(owner mizzen.Name) *ownerList {
	o := w.owners[owner]
	if o == nil {
		o = &ownerList{name: owner}
		w.owners[owner] = o
	}
	return o
}

// tidy drops an owner that has neither objects nor a sync. The lock is held.
func (w *Watcher) tidy(o *ownerList) {
	if o != nil && o.first == nil && o.busy == 0 {
		delete(w.owners, o.name)
	}
}
