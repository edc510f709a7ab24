package application

import (
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"mizzen.dev/mizzen"
)

// errSuperseded ends a sync that waits, because its input is out of date.
var errSuperseded = errors.New("a newer commit or spec supersedes the sync")

// begin notes that a reconcile is under way until the returned function is
// called: what was evaluated last may then not be what is evaluated next, so
// every commit is worth another look.
func (m *memory) begin() (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running = false
	}
}

func (m *memory) underWay() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

// superseder sets what ends the sync that is under way, and the input of that
// sync; nil when it is over.
func (m *memory) superseder(cancel func(error), input settled) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancel, m.syncing = cancel, input
}

// supersede ends a sync that is under way unless a commit leaves its input as
// it is; a nil Snapshot leaves nothing.
func (m *memory) supersede(s mizzen.Snapshot) {
	m.mu.Lock()
	cancel, input := m.cancel, m.syncing
	m.mu.Unlock()
	if cancel != nil && (s == nil || s.Commit().ID != input.commit && !input.key.Holds(s)) {
		cancel(errSuperseded)
	}
}

// outdate ends a sync that is under way for an older spec.
func (m *memory) outdate(generation int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cancel != nil && m.syncing.generation < generation {
		m.cancel(errSuperseded)
	}
}

// outdating passes every event on, and ends the sync of a spec that has been
// replaced: a rollback, a hold or a deletion must not wait for its waves. It
// also notes what the cache has, so that no status is kept twice.
func (r *Reconciler) outdating() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		name := client.ObjectKeyFromObject(e.ObjectNew)
		m := r.memories.of(mizzen.Name{Namespace: name.Namespace, Name: name.Name})
		m.outdate(e.ObjectNew.GetGeneration())
		m.arrived(e.ObjectNew.GetResourceVersion())
		return true
	}}
}
