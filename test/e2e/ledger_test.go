package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"mizzen.dev/mizzen"
)

// ledger is what watches saw of every object of the namespace that is ours.
type ledger struct {
	mu    sync.Mutex
	saw   map[string][]revisionOfObject
	value map[string]int // how many ConfigMaps have had a value
	moved chan struct{}
}

// revisionOfObject is an object after a write; content is without what the API
// server keeps about it.
type revisionOfObject struct{ version, content, status, event string }

// record begins to write down every change that a write had.
func (s *stage) record() *ledger {
	s.test.Helper()
	l := &ledger{saw: map[string][]revisionOfObject{}, value: map[string]int{}, moved: make(chan struct{}, 1)}
	for _, kind := range crashKinds {
		client := s.dynamic.Resource(kind).Namespace(s.ns)
		list, err := client.List(s.test.Context(), metav1.ListOptions{Limit: 1})
		if err != nil {
			s.test.Fatal(err)
		}
		// The API server hangs up on a watch that is slow to read, as on a busy
		// machine: go on where it ended.
		w, err := watchtools.NewRetryWatcherWithContext(s.test.Context(), list.GetResourceVersion(), &cache.ListWatch{
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.LabelSelector = mizzen.LabelManaged
				return client.Watch(ctx, o)
			},
		})
		if err != nil {
			s.test.Fatal(err)
		}
		s.test.Cleanup(w.Stop)
		go func() {
			for e := range w.ResultChan() {
				if o, ok := e.Object.(*unstructured.Unstructured); ok {
					l.take(e.Type, o)
				}
			}
		}()
	}
	return l
}

func (l *ledger) take(event watch.EventType, o *unstructured.Unstructured) {
	name := o.GetKind() + " " + o.GetName()
	r := revisionOfObject{version: o.GetResourceVersion(), status: fmt.Sprint(o.Object["status"]), event: string(event)}
	bare := content(o)
	r.content = fmt.Sprint(bare)
	value, _, _ := unstructured.NestedString(bare, "data", "value")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saw[name] = append(l.saw[name], r)
	if event != watch.Deleted && o.GetKind() == "ConfigMap" {
		l.value[value]++
	}
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// having is how many objects have had a value.
func (l *ledger) having(value string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value[value]
}

// killWithin kills the process at a random instant: of every ten kills one
// comes anywhere after its start, one around the last write, when the result
// is recorded, and the others after a random number of writes. It returns 1 if
// some objects were written and some were not.
func (l *ledger) killWithin(random *rand.Rand, p *process, value string) int {
	all := crashObjects + passing
	goal, delay := 1+random.IntN(all-1), time.Duration(random.IntN(2000))*time.Microsecond
	switch random.IntN(10) {
	case 0:
		goal, delay = 0, time.Duration(random.IntN(3000))*time.Millisecond
	case 1:
		goal, delay = all, time.Duration(random.IntN(150))*time.Millisecond
	}
	for deadline := time.Now().Add(*patience); l.having(value) < goal; {
		select {
		case <-l.moved:
		case <-time.After(time.Until(deadline)):
			p.t.Fatalf("%d of %d objects were written", l.having(value), goal)
		case <-p.ended:
			p.t.Fatal("mizzen ended by itself")
		}
	}
	time.Sleep(delay)
	p.kill()
	if n := l.having(value); n > 0 && n < all {
		return 1
	}
	return 0
}

// check makes sure that no write left an object's content as it was: what is
// right already is not written again, by whichever process. It returns how many
// writes had an effect, once that is as many as were answered: watches may be
// behind.
func (l *ledger) check(t *testing.T, answered int) (writes int) {
	t.Helper()
	var kinds map[string]int
	var wrong []string
	for deadline := time.Now().Add(*patience); ; time.Sleep(pause) {
		writes = 0
		kinds, wrong = l.effects()
		for _, n := range kinds {
			writes += n
		}
		if writes >= answered || time.Now().After(deadline) {
			break
		}
	}
	for _, w := range wrong {
		t.Error(w)
	}
	t.Logf("%d writes with effect: %v", writes, kinds)
	if len(kinds) != len(crashKinds) {
		t.Errorf("objects of %d kinds were written, want %d", len(kinds), len(crashKinds))
	}
	return writes
}

// effects counts the writes that had an effect by kind, and names those that
// ought not to have been. A status is written by others.
func (l *ledger) effects() (kinds map[string]int, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds = map[string]int{}
	for name, revisions := range l.saw {
		for i, r := range revisions {
			last := revisionOfObject{event: string(watch.Deleted)}
			if i > 0 {
				last = revisions[i-1]
			}
			same := r.event == string(watch.Modified) && last.content == r.content
			if same && last.status != r.status {
				continue
			}
			kinds[strings.Fields(name)[0]]++
			if same {
				wrong = append(wrong, fmt.Sprintf("%s was written twice with one content: %v", name, []revisionOfObject{last, r}))
			}
			if r.event == string(watch.Added) && last.event != string(watch.Deleted) {
				wrong = append(wrong, fmt.Sprintf("%s was created twice: %v", name, revisions))
			}
		}
	}
	return kinds, wrong
}
