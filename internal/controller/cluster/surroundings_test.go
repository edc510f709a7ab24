package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/live"
)

// lists counts the requests for all Services.
type lists struct {
	next http.RoundTripper
	mu   sync.Mutex
	n    int
}

func (l *lists) RoundTrip(q *http.Request) (*http.Response, error) {
	if strings.HasSuffix(q.URL.Path, "/services") {
		l.mu.Lock()
		l.n++
		l.mu.Unlock()
	}
	return l.next.RoundTrip(q)
}

func (l *lists) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Many who ask within a while share one read of the cluster; who asks later gets
// another one.
func TestSurroundingsAreShared(t *testing.T) {
	lab := labtest.Start(t, labtest.ControlPlane)
	seen := &lists{}
	config := rest.CopyConfig(lab.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { seen.next = next; return seen })
	c, err := live.New(config, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clock := testclock.NewFakeClock(time.Unix(1e9, 0))
	s := NewSurroundings(clock)
	ask := func() {
		t.Helper()
		var all errgroup.Group
		for range 100 {
			all.Go(func() error {
				objects, err := s.Of(t.Context(), c)
				if err == nil && len(objects) == 0 {
					err = errors.New("a cluster without a namespace")
				}
				return err
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	ask()
	if n := seen.count(); n != 1 {
		t.Errorf("%d reads for all who ask at a time, want 1", n)
	}
	pass(t, clock, s)
	if ask(); seen.count() != 2 {
		t.Errorf("%d reads after a while, want another one", seen.count())
	}
	pass(t, clock, s)
}

// pass lets the while pass, and fails if anything is kept.
func pass(t *testing.T, clock *testclock.FakeClock, s *Surroundings) {
	t.Helper()
	labtest.Eventually(t, "the reads to be forgotten", func(context.Context) bool {
		clock.Step(sharedFor)
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.all) == 0
	})
}

// A cluster that does not answer keeps nobody from another one, and is left alone
// when nobody waits for it any more.
func TestSurroundingsOfASlowCluster(t *testing.T) {
	s := NewSurroundings(testclock.NewFakeClock(time.Unix(1e9, 0)))
	slow, other := new(live.Cluster), new(live.Cluster)
	begun := make(chan context.Context, 1)
	var answers atomic.Bool
	s.read = func(ctx context.Context, c *live.Cluster) ([]mizzen.Object, error) {
		if c == slow && !answers.Load() {
			begun <- ctx
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return []mizzen.Object{{}}, nil
	}
	patient, giveUp := context.WithCancel(t.Context())
	hasty, leave := context.WithCancel(t.Context())
	got := make(chan error, 2)
	of := func(ctx context.Context) {
		_, err := s.Of(ctx, slow)
		got <- err
	}
	go of(hasty)
	read := <-begun
	go of(patient)
	labtest.Eventually(t, "both to wait", func(context.Context) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.all[slow].waiting == 2
	})
	leave()
	if err := <-got; !errors.Is(err, context.Canceled) || read.Err() != nil {
		t.Errorf("who leaves gets %v, and the read of the others %v", err, read.Err())
	}
	if objects, err := s.Of(t.Context(), other); err != nil || len(objects) != 1 {
		t.Errorf("another cluster: %v, %v", objects, err)
	}
	giveUp()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-read.Done()
	// Who comes now begins anew.
	answers.Store(true)
	if _, err := s.Of(t.Context(), slow); err != nil {
		t.Errorf("after one that was given up: %v", err)
	}
}

// Of many clusters only a few are kept in memory.
func TestSurroundingsAreBounded(t *testing.T) {
	clock := testclock.NewFakeClock(time.Unix(1e9, 0))
	s := NewSurroundings(clock)
	broken := errors.New("broken")
	s.read = func(context.Context, *live.Cluster) ([]mizzen.Object, error) { return nil, broken }
	var all []*live.Cluster
	var reads []*reading
	for i := range 3 * mostShared {
		c := new(live.Cluster)
		all = append(all, c)
		if _, err := s.Of(t.Context(), c); !errors.Is(err, broken) {
			t.Fatalf("cluster %d: %v", i, err)
		}
		s.mu.Lock()
		reads = append(reads, s.all[c])
		s.mu.Unlock()
		clock.Step(time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) != mostShared {
		t.Errorf("%d clusters are kept, want %d", len(s.all), mostShared)
	}
	for i, c := range all {
		if kept := s.all[c] != nil; kept != (i >= len(all)-mostShared) {
			t.Errorf("cluster %d is kept: %v", i, kept)
		} else if !kept {
			<-reads[i].forgotten // nobody holds it for the rest of the while
		}
	}
}
