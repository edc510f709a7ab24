package live

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
)

// Begin says that a sync of the Application begins. Until End, what happens to
// its objects is not told as drift, since only the end shows which of it was
// the sync itself. Begins may nest.
func (w *Watcher) Begin(owner mizzen.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list(owner).busy++
}

// End says that the sync is over, whatever became of it, after Expect was
// called for all that it wrote. What happened meanwhile and is not explained
// by that is told now.
func (w *Watcher) End(owner mizzen.Name) {
	w.mu.Lock()
	o := w.owners[owner]
	if o == nil || o.busy == 0 {
		w.mu.Unlock()
		return
	}
	o.busy--
	var events []Event
	if o.busy == 0 {
		held := o.held
		o.held = nil
		for e, f := range held {
			switch {
			case f == nil:
				w.lost(e)
			case !e.stale(f.version):
				events = append(events, e.judge(f))
			}
		}
		w.tidy(o)
	}
	w.mu.Unlock()
	w.tell(events)
}

// Expect says that we wrote an object of owner, and what of. It may come before
// or after the watch sees it. Objects of kinds that were never Ensured are
// ignored.
func (w *Watcher) Expect(owner mizzen.Name, ref mizzen.Ref, a Applied) {
	hash, ok := parseHash(a.Managed)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[ref.GroupKind()]
	if k == nil {
		return
	}
	id := keyOf(ref.Namespace, ref.Name)
	e := k.entries[id]
	if e == nil {
		e = &entry{key: id, kind: k}
		k.entries[id] = e
	}
	w.own(e, owner)
	uid := compactUID(a.UID)
	e.known, e.awaited, e.leaving, e.told = hash, versionOf(a.ResourceVersion), false, 0
	if e.uid != uid {
		// A new object, whose ADDED has not come yet.
		e.uid, e.present = uid, false
	}
	f, held := e.owner.held[e]
	before := f == nil && e.version < e.awaited || f != nil && f.uid != uid
	if held && before && e.awaited > 0 {
		// What was held back was about the object before. An end that came
		// after our write is none of it: somebody was quicker than the answer.
		delete(e.owner.held, e)
	}
}

// ExpectGone says that we delete, or have deleted, an object. Its end is told
// as Removed.
func (w *Watcher) ExpectGone(ref mizzen.Ref) {
	w.mu.Lock()
	var events []Event
	if k := w.kinds[ref.GroupKind()]; k != nil {
		if e := k.entries[keyOf(ref.Namespace, ref.Name)]; e != nil {
			e.leaving = true
			if !e.present {
				events = append(events, Event{Type: Removed, Ref: ref, Owner: e.owner.name})
				w.forget(e)
			}
		}
	}
	w.mu.Unlock()
	w.tell(events)
}

// own makes owner the owner of the entry. The lock is held.
func (w *Watcher) own(e *entry, owner mizzen.Name) {
	if e.owner != nil && e.owner.name == owner {
		return
	}
	old := e.owner
	e.unlink()
	w.list(owner).link(e)
	w.tidy(old)
}

// observe takes what an event or a list says of an object that exists. first
// is for the first list, which is what is known. The lock is held.
func (w *Watcher) observe(k *kindWatch, f *facts, first bool) []Event {
	k.latest = max(k.latest, f.version)
	e := k.entries[f.key]
	if e == nil && f.ownership != Ours {
		return nil
	}
	if e == nil {
		e = w.discover(k, f, first)
	}
	if e.ignores(f.version) {
		return nil
	}
	if f.uid != e.uid && f.ownership != Ours {
		// A stranger stands in the place of our object.
		return w.vanish(k, f.key, f.version)
	}
	if f.ownership == Ours {
		w.own(e, f.owner)
	}
	e.note(f)
	if e.owner.busy > 0 {
		e.owner.hold(e, f)
		return []Event{e.event(Touched)}
	}
	news := e.judge(f)
	if first && news.Type == Touched {
		return nil
	}
	return []Event{news}
}

// ignores tells whether the facts of a version are no news: they are older than
// our last write, or a list shows once more what was seen.
func (e *entry) ignores(version uint64) bool {
	return e.stale(version) || e.present && version != 0 && version == e.version
}

// stale tells whether an event is older than our last write.
func (e *entry) stale(version uint64) bool { return version != 0 && version < e.awaited }

// discover makes an entry for an object of ours that was not known. The lock
// is held.
func (w *Watcher) discover(k *kindWatch, f *facts, first bool) *entry {
	e := &entry{key: f.key, kind: k, uid: f.uid}
	k.entries[f.key] = e
	w.own(e, f.owner)
	if first {
		e.known = f.hash
		if !w.c.Exclusive(k.gk) {
			// What strangers added to others stays, and was told of before.
			e.told = f.foreignHash
		}
	}
	return e
}

func (o *ownerList) hold(e *entry, f *facts) {
	if o.held == nil {
		o.held = make(map[*entry]*facts)
	}
	o.held[e] = f
}

func (e *entry) note(f *facts) {
	e.leaving = e.leaving && e.uid == f.uid
	e.uid = f.uid
	e.present, e.entered, e.seen = true, f.entered, f.hash
	e.version, e.generation, e.foreign = f.version, f.Generation, f.foreignHash
	e.deleting = f.DeletionTimestamp != nil
	e.handed = e.seen != e.known && f.explains(e.known)
}

// explains tells whether our entry lost nothing of what is known but fields
// that controllers may take.
func (f *facts) explains(known uint64) bool {
	if !f.entered || len(f.handed) == 0 || len(f.handed) > 8 {
		return false
	}
	for subset := 1; subset < 1<<len(f.handed); subset++ {
		sum := f.hash
		for i, h := range f.handed {
			if subset&(1<<i) != 0 {
				sum += h
			}
		}
		if sum == known {
			return true
		}
	}
	return false
}

// judge decides what an event of an idle Application means.
func (e *entry) judge(f *facts) Event {
	if e.handed = f.hash != e.known && f.explains(e.known); f.hash != e.known && !e.handed {
		// A field that was taken from us is foreign now as well. Which of the
		// foreign ones were added shows when ours are back (see Expect).
		e.known, e.told = f.hash, f.foreignHash
		changed := e.event(Changed)
		changed.blame(f.latest)
		return changed
	}
	if f.foreignHash == e.told {
		return e.event(Touched)
	}
	e.told = f.foreignHash
	if len(f.foreign) == 0 {
		return e.event(Touched)
	}
	foreign := e.event(Foreign)
	foreign.blame(f.foreign)
	return foreign
}

func (e *entry) event(t EventType) Event {
	return Event{Type: t, Ref: e.ref(), Owner: e.owner.name, Exclusive: e.kind.w.c.Exclusive(e.kind.gk)}
}

// vanish takes what a DELETED event or a list says of an object that is not
// selected any more. The lock is held.
func (w *Watcher) vanish(k *kindWatch, id key, version uint64) []Event {
	e := k.entries[id]
	if e == nil || e.stale(version) {
		return nil
	}
	if !e.present && e.awaited == 0 {
		return nil // already being looked into
	}
	e.present, e.version = false, max(e.version, version)
	if e.leaving {
		events := []Event{e.event(Removed)}
		w.forget(e)
		return events
	}
	if e.owner.busy > 0 {
		e.owner.hold(e, nil)
		return nil
	}
	w.lost(e)
	return nil
}

// lost deals with an object that vanished and was not deleted by us: a removed
// label looks the same, so the API server is asked before it is believed. The
// lock is held.
func (w *Watcher) lost(e *entry) {
	if e.present {
		return // it came back meanwhile
	}
	e.awaited = 0
	w.spawn(func() { w.verify(e) })
}

// verify asks for an object that vanished, and tells what became of it.
func (w *Watcher) verify(e *entry) {
	select {
	case w.verifying <- struct{}{}:
		defer func() { <-w.verifying }()
	case <-w.ctx.Done():
		return
	}
	w.mu.Lock()
	resource, ref := e.kind.resource, e.ref()
	w.mu.Unlock()
	ctx, cancel := bounded(w.ctx)
	defer cancel()
	found, err := w.c.metadata.Resource(resource.GVR()).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if w.ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	events := w.conclude(e, found, err)
	w.mu.Unlock()
	w.tell(events)
}

// conclude decides what became of an object that vanished. If the API server
// did not answer, it counts as gone: whoever restores it will look again. The
// lock is held.
func (w *Watcher) conclude(e *entry, found *metav1.PartialObjectMetadata, err error) []Event {
	if e.kind.entries[e.key] != e || e.present || e.awaited != 0 {
		return nil // it came back, was written again, or was released
	}
	t := Gone
	same := err == nil && compactUID(found.UID) == e.uid
	switch {
	case same && found.Labels[mizzen.LabelManaged] == w.c.installation:
		// Selected again: the event that says so is on its way, and is judged
		// against what is known.
		return nil
	case same:
		t = Unlabelled
	case e.leaving:
		t = Removed
	}
	events := []Event{e.event(t)}
	w.forget(e)
	return events
}

func (w *Watcher) tell(events []Event) {
	for _, e := range events {
		w.handler.Event(e)
	}
}
