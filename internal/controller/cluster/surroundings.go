package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/live"
)

const (
	// sharedFor is how long what was read of a cluster serves others who ask:
	// long enough for the many Applications that one commit touches, and so short
	// that it is as good as now.
	sharedFor = 5 * time.Second
	// mostShared bounds the clusters of which that is kept in memory.
	mostShared = 4
	// longestRead is when a read is given up.
	longestRead = 2 * time.Minute
)

// Surroundings read what clusters have beside Git for many who ask at about the
// same time, each cluster once. They are safe for concurrent use: who waits for
// one cluster keeps nobody from another.
type Surroundings struct {
	clock clock.Clock
	read  func(context.Context, *live.Cluster) ([]mizzen.Object, error)

	mu  sync.Mutex
	all map[*live.Cluster]*reading
}

// reading is one read of a cluster, under way or done.
type reading struct {
	// done is closed when objects and err are there.
	done    chan struct{}
	objects []mizzen.Object
	err     error
	ended   time.Time // zero while it is under way
	// forgotten is closed when there is no room for it any more.
	forgotten chan struct{}
	// waiting counts those who want it; without any it is given up.
	waiting int
	cancel  context.CancelFunc
}

// NewSurroundings returns Surroundings of which nothing is known yet.
func NewSurroundings(c clock.Clock) *Surroundings {
	return &Surroundings{clock: c, read: beside.Read, all: map[*live.Cluster]*reading{}}
}

// Of returns the objects of a cluster that matter to its mesh, sorted by
// identity; they are shared, and must not be changed. They are as they are now,
// or were a few seconds ago. Errors are those of beside.Read, and the context's.
func (s *Surroundings) Of(ctx context.Context, c *live.Cluster) ([]mizzen.Object, error) {
	r := s.join(ctx, c)
	defer s.leave(c, r)
	select {
	case <-r.done:
		return r.objects, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join returns the read that is under way or still good, or begins one.
func (s *Surroundings) join(ctx context.Context, c *live.Cluster) *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.all[c]
	if r == nil {
		// It is for others, too: it does not end with the first who asks.
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestRead)
		r = &reading{done: make(chan struct{}), forgotten: make(chan struct{}), cancel: cancel}
		s.all[c] = r
		go s.run(shared, c, r)
	}
	r.waiting++
	return r
}

// leave gives up a read that nobody waits for any more.
func (s *Surroundings) leave(c *live.Cluster, r *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.waiting--; r.waiting == 0 && r.ended.IsZero() {
		r.cancel()
		s.drop(c, r)
	}
}

// run reads, and forgets it after a while.
func (s *Surroundings) run(ctx context.Context, c *live.Cluster, r *reading) {
	defer r.cancel()
	objects, err := s.read(ctx, c)
	s.finish(r, objects, err)
	select {
	case <-s.clock.After(sharedFor):
	case <-r.forgotten: // what holds it must not outlive its place
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c, r)
}

// finish hands out what was read. The oldest of too many is forgotten, which
// those who have it may use all the same.
func (s *Surroundings) finish(r *reading, objects []mizzen.Object, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.objects, r.err, r.ended = objects, err, s.clock.Now()
	close(r.done)
	var ended []*live.Cluster
	for c, other := range s.all {
		if !other.ended.IsZero() {
			ended = append(ended, c)
		}
	}
	if len(ended) > mostShared {
		oldest := slices.MinFunc(ended, func(a, b *live.Cluster) int {
			return cmp.Compare(s.all[a].ended.UnixNano(), s.all[b].ended.UnixNano())
		})
		close(s.all[oldest].forgotten)
		delete(s.all, oldest)
	}
}

// drop forgets a read, unless another one has taken its place; s.mu must be held.
func (s *Surroundings) drop(c *live.Cluster, r *reading) {
	if s.all[c] == r {
		delete(s.all, c)
	}
}
