package live

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// store takes what a Reflector sees of a kind and turns it into Events.
type store struct{ k *kindWatch }

var _ cache.TransformingStore = store{}

// Transformer shrinks objects while the first list streams in.
func (s store) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return s.facts(o) }
}

func (s store) facts(o any) (*facts, error) {
	switch o := o.(type) {
	case *facts:
		return o, nil
	case *metav1.PartialObjectMetadata:
		return s.k.factsOf(o), nil
	}
	return nil, fmt.Errorf("unexpected %T in a watch of metadata", o)
}

// Add takes an ADDED event.
func (s store) Add(o any) error { return s.Update(o) }

// Update takes a MODIFIED event.
func (s store) Update(o any) error {
	f, err := s.facts(o)
	if err != nil {
		return err
	}
	w := s.k.w
	w.mu.Lock()
	events := w.observe(s.k, f, false)
	w.mu.Unlock()
	w.tell(events)
	return nil
}

// Delete takes a DELETED event.
func (s store) Delete(o any) error {
	f, err := s.facts(o)
	if err != nil {
		return err
	}
	w := s.k.w
	w.mu.Lock()
	events := w.vanish(s.k, f.key, f.version)
	w.mu.Unlock()
	w.tell(events)
	return nil
}

// Replace takes a list. The first one is what is known; after later ones the
// differences are told as if they had been watched.
func (s store) Replace(list []any, version string) error {
	k, w := s.k, s.k.w
	all := make([]*facts, 0, len(list))
	for _, o := range list {
		f, err := s.facts(o)
		if err != nil {
			return err
		}
		all = append(all, f)
	}
	w.mu.Lock()
	k.rewound(versionOf(version))
	var events []Event
	listed := make(map[key]bool, len(all))
	for _, f := range all {
		listed[f.key] = true
		events = append(events, w.observe(k, f, !k.synced)...)
	}
	for _, e := range k.entries {
		if !listed[e.key] {
			events = append(events, w.vanish(k, e.key, versionOf(version))...)
		}
	}
	recovered := k.told != nil
	k.synced, k.told = true, nil
	k.settle(nil)
	w.mu.Unlock()
	w.tell(events)
	if recovered {
		w.handler.Watching(k.gk, nil)
	}
	return nil
}

// rewound forgets resource versions if the server's history is shorter than it
// was: then etcd was restored from a backup, and numbers begin anew. The lock
// is held.
func (k *kindWatch) rewound(version uint64) {
	if version == 0 || version >= k.latest {
		return
	}
	k.latest = version
	for _, e := range k.entries {
		e.version, e.awaited = 0, 0
	}
}

// Resync does nothing: there is no resync period.
func (s store) Resync() error { return nil }

// empty takes the news that the kind does not exist any more.
func (k *kindWatch) empty() {
	w := k.w
	w.mu.Lock()
	var events []Event
	for _, e := range k.entries {
		events = append(events, w.vanish(k, e.key, 0)...)
	}
	w.mu.Unlock()
	w.tell(events)
}
