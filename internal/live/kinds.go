package live

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// settleEvery and settleTries bound how long to wait until discovery knows
	// of a CRD that came or went.
	settleEvery = 100 * time.Millisecond
	settleTries = 100
)

var definitions = Resource{
	Kind: schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	Name: "customresourcedefinitions", Verbs: []string{"get", "list", "watch"},
}

// watchKinds watches all CustomResourceDefinitions, whoever owns them, so that
// what waits for a kind goes on as soon as it is served.
func (w *Watcher) watchKinds() {
	k := newKindWatch(w, definitions)
	k.store, k.selector = &definitionStore{k: k, present: make(map[string]uint64), waiting: make(map[string]bool)}, ""
	k.run()
}

// definitionStore turns what happens to CRDs into calls of Handler.Kinds. Only
// the Reflector's goroutine uses its map.
type definitionStore struct {
	k *kindWatch
	// present holds the resource version of each CRD, by name.
	present map[string]uint64
	listed  bool
	// waiting holds what discovery is awaited to say; Watcher.mu guards it.
	waiting map[string]bool
}

// Add takes an ADDED event.
func (s *definitionStore) Add(o any) error { return s.Update(o) }

// Update takes a MODIFIED event.
func (s *definitionStore) Update(o any) error {
	if m, ok := o.(metav1.Object); ok {
		version := versionOf(m.GetResourceVersion())
		if old, known := s.present[m.GetName()]; !known || old != version {
			s.present[m.GetName()] = version
			s.changed(m.GetName(), true)
		}
	}
	return nil
}

// Delete takes a DELETED event.
func (s *definitionStore) Delete(o any) error {
	if m, ok := o.(metav1.Object); ok {
		delete(s.present, m.GetName())
		s.changed(m.GetName(), false)
	}
	return nil
}

// Replace takes a list. The first one is no news.
func (s *definitionStore) Replace(list []any, _ string) error {
	old := s.present
	s.present = make(map[string]uint64, len(list))
	for _, o := range list {
		m, ok := o.(metav1.Object)
		if !ok {
			continue
		}
		version := versionOf(m.GetResourceVersion())
		s.present[m.GetName()] = version
		if was, known := old[m.GetName()]; s.listed && (!known || was != version) {
			s.changed(m.GetName(), true)
		}
	}
	for name := range old {
		if _, still := s.present[name]; !still {
			s.changed(name, false)
		}
	}
	s.listed = true
	w := s.k.w
	w.mu.Lock()
	recovered := s.k.told != nil
	s.k.synced, s.k.told = true, nil
	s.k.settle(nil)
	w.mu.Unlock()
	if recovered {
		w.handler.Watching(s.k.gk, nil)
	}
	return nil
}

// Resync does nothing: there is no resync period.
func (s *definitionStore) Resync() error { return nil }

// changed waits until discovery knows, wakes the watches of the group, and
// tells.
func (s *definitionStore) changed(name string, present bool) {
	plural, group, ok := strings.Cut(name, ".")
	if !ok {
		return
	}
	w, gr := s.k.w, schema.GroupResource{Group: group, Resource: plural}
	w.c.Invalidate(group)
	w.mu.Lock()
	defer w.mu.Unlock()
	if now, waiting := s.waiting[name]; waiting && now == present {
		return
	}
	s.waiting[name] = present
	w.spawn(func() {
		ok := w.settled(gr, present)
		w.mu.Lock()
		if s.waiting[name] == present {
			delete(s.waiting, name)
		}
		w.mu.Unlock()
		if ok {
			w.wake(group)
			w.handler.Kinds(gr)
		}
	})
}

// settled waits until discovery says whether the resource is there as it
// should be. It gives up quietly: what does not get established makes no news,
// and another event starts another wait.
func (w *Watcher) settled(gr schema.GroupResource, present bool) bool {
	for range settleTries {
		if served, err := w.c.serves(w.ctx, gr); err == nil && served == present {
			return true
		}
		timer := w.c.clock.NewTimer(settleEvery)
		select {
		case <-timer.C():
		case <-w.ctx.Done():
			timer.Stop()
			return false
		}
		w.c.Invalidate(gr.Group)
	}
	return false
}

// wake retries the watches of a group that rest because they failed.
func (w *Watcher) wake(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for gk, k := range w.kinds {
		if gk.Group == group && k.err != nil {
			k.retryNow()
		}
	}
}
