package render

import (
	"context"
	"slices"
	"sync"
)

// Slots are places for work that costs processor time, shared fairly among
// tenants: one tenant never holds all of them, and a free one goes to the
// waiting tenant that holds the fewest. It may be used by many goroutines.
type Slots struct {
	each int

	mu      sync.Mutex
	free    int
	held    map[string]int
	waiting []*waiter // in the order in which they came
}

type waiter struct {
	tenant string
	turn   chan struct{} // closed when it has a slot
}

// NewSlots returns so many slots for each tenant at most, and spare ones for
// those who come while one tenant holds that many.
func NewSlots(each, spare int) *Slots {
	return &Slots{each: max(1, each), free: max(1, each) + max(0, spare), held: map[string]int{}}
}

// Enter waits for a slot. The error is the context's.
func (s *Slots) Enter(ctx context.Context, tenant string) (leave func(), err error) {
	w := &waiter{tenant: tenant, turn: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.admit()
	s.mu.Unlock()
	leave = sync.OnceFunc(func() { s.leave(tenant) })
	select {
	case <-w.turn:
		return leave, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting, w)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		leave() // its turn came at the same moment
	}
	return nil, context.Cause(ctx)
}

func (s *Slots) leave(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[tenant]--; s.held[tenant] == 0 {
		delete(s.held, tenant)
	}
	s.admit()
}

// admit gives free slots to those who may have one; s.mu must be held.
func (s *Slots) admit() {
	for s.free > 0 {
		next := -1
		for i, w := range s.waiting {
			if n := s.held[w.tenant]; n < s.each && (next < 0 || n < s.held[s.waiting[next].tenant]) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		s.free--
		s.held[w.tenant]++
		close(w.turn)
	}
}
