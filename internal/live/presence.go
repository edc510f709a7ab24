package live

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
)

const (
	// presenceAge is how old an answer of Absent may be.
	presenceAge = time.Second
	// presenceAtLeast is how many objects of one kind in one namespace must be
	// asked for within presenceAge for a LIST to be cheaper than as many GETs.
	presenceAtLeast = 8
	// presenceMost bounds the names that are kept of one place.
	presenceMost = 20_000
)

// presences remembers for a moment what exists where much is asked for.
type presences struct {
	mu     sync.Mutex
	places map[place]*presence
}

// presence is what exists of one kind in one namespace.
type presence struct {
	// mu is held while the list is read, so that all who ask meanwhile share it.
	mu     sync.Mutex
	since  time.Time
	asked  int
	listed time.Time
	names  map[string]struct{}
}

// Absent returns those of the targets that did not exist within the last
// second, as far as that is known for little: many Applications that are synced
// for the first time ask for one object each, where one LIST answers all of
// them. Whether the others exist, Objects tells. Who acts upon the answer must
// bear that an object has come into being since.
func (c *Cluster) Absent(ctx context.Context, targets []Target) map[mizzen.Ref]bool {
	absent := map[mizzen.Ref]bool{}
	for p, names := range byPlace(targets) {
		existing := c.presence(ctx, p, len(names))
		if existing == nil {
			continue
		}
		for _, name := range names {
			if _, exists := existing[name]; !exists {
				absent[Target{p.kind, p.namespace, name}.Ref()] = true
			}
		}
	}
	return absent
}

// presence returns the names that exist in a place, nil if it is not worth
// a LIST, or cannot be told. The map is not changed any more.
func (c *Cluster) presence(ctx context.Context, p place, asked int) map[string]struct{} {
	r, err := c.Resource(ctx, p.kind)
	if err != nil || !r.Can("list") || r.Namespaced != (p.namespace != "") {
		return nil
	}
	now := c.clock.Now()
	state := c.presences.of(p, now)
	state.mu.Lock()
	defer state.mu.Unlock()
	if now.Sub(state.since) > presenceAge {
		state.since, state.asked = now, 0
	}
	state.asked += asked
	if now.Sub(state.listed) <= presenceAge {
		return state.names
	}
	if state.asked < presenceAtLeast {
		return nil
	}
	// The answer is as old as the question.
	state.names, state.listed = c.names(ctx, r, p.namespace), now
	return state.names
}

func (ps *presences) of(p place, now time.Time) *presence {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.places == nil {
		ps.places = map[place]*presence{}
	}
	state := ps.places[p]
	if state == nil {
		ps.sweep(now)
		state = &presence{since: now}
		ps.places[p] = state
	}
	return state
}

// sweep forgets the places whose answers are too old. One that is being asked
// for at this moment is of no use to whoever asks later. The lock is held.
func (ps *presences) sweep(now time.Time) {
	for p, state := range ps.places {
		if !state.mu.TryLock() {
			continue
		}
		if now.Sub(state.listed) > presenceAge && now.Sub(state.since) > presenceAge {
			delete(ps.places, p)
		}
		state.mu.Unlock()
	}
}

// names lists what exists; nil if there is too much of it or it may not be
// listed.
func (c *Cluster) names(ctx context.Context, r Resource, namespace string) map[string]struct{} {
	release, err := c.acquire(ctx)
	if err != nil {
		return nil
	}
	defer release()
	ctx, cancel := bounded(ctx)
	defer cancel()
	names := map[string]struct{}{}
	for o := (metav1.ListOptions{Limit: metadataPage}); ; {
		items, next, err := c.listMetadata(ctx, r, namespace, o)
		if err != nil || len(names) > presenceMost {
			return nil
		}
		for _, item := range items {
			names[item.GetName()] = struct{}{}
		}
		if next == "" {
			return names
		}
		o.Continue = next
	}
}
