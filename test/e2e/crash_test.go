package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"mizzen.dev/mizzen"
)

var (
	crashes   = flag.Int("crashes", 52, "how often a sync is killed")
	crashSeed = flag.Uint64("crash-seed", 0, "the seed of an earlier run; 0 makes a new one")
)

const (
	// crashObjects are those that every commit changes, in two Applications.
	crashObjects = 500
	// passing are those that a commit brings and the next one removes. Their
	// names make them the first to be written.
	passing = 5
)

// A process is killed at random instants of a sync of 500 objects, and started
// again at once. In the end the cluster is as Git says: no object has been
// written twice with the same content, and none is left that a crashed sync
// created and the next commit removed.
func TestCrashes(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -crash-seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStage(t, 0)
	s.publish(crashFiles(0))
	s.app("big", "big")
	s.app("small", "small")
	seen, audit := s.record(), s.lab.Audit(t)

	p := launch(t, s.lab, s.state)
	begin := time.Now()
	s.settleCrashed("")
	s.matches(0)
	t.Logf("the first sync, from the start of the process: %s", time.Since(begin).Round(time.Millisecond))
	p.kill()

	inside := 0
	for round := 1; round <= *crashes; round++ {
		commit := s.push(fmt.Sprintf("Round %d", round), crashFiles(round))
		p = launch(t, s.lab, s.state)
		inside += seen.killWithin(random, p, fmt.Sprint(round))
		if round%13 == 0 {
			// The next process finishes what the killed one began.
			p = launch(t, s.lab, s.state)
			s.settleCrashed(commit)
			s.matches(round)
			p.kill()
		}
	}
	t.Logf("%d of %d kills hit between the first and the last write", inside, *crashes)
	if inside < *crashes/2 {
		t.Errorf("only %d kills hit a sync: nothing is proved", inside)
	}
	last := crashFiles(*crashes + 1)
	last["big/passing.yaml"] = "" // nothing new comes with the last commit
	commit := s.push("The last", last)
	p = launch(t, s.lab, s.state)
	s.settleCrashed(commit)
	s.matches(-1)
	p.kill()
	effects := seen.check(t)
	asked := 0
	for _, r := range audit.Requests(t) {
		if r.Verb == "patch" && r.Resource == "configmaps" && r.Namespace == s.ns && r.Code < 300 && !strings.Contains(r.URI, "dryRun") {
			asked++
		}
	}
	// A write that was answered to a dead process had its effect, too.
	t.Logf("%d writes were answered, %d had an effect", asked, effects)
	if asked > effects {
		t.Errorf("%d writes changed nothing", asked-effects)
	}
}

// crashFiles are two Applications of 400 and 100 objects with a value, and a
// few of several kinds whose names belong to the round.
func crashFiles(round int) map[string]string {
	value := fmt.Sprint(round)
	files := map[string]string{
		"big/all.yaml":   many("big", crashObjects*4/5, value),
		"small/all.yaml": many("small", crashObjects/5, value),
	}
	files["big/passing.yaml"] = many(fmt.Sprintf("a-passing-%d", round), passing, value) + "---\n" + passingKind(round)
	return files
}

// passingKind is an object of a kind that no other round has, as long as
// there are some.
func passingKind(round int) string {
	name := fmt.Sprintf("passing-%d", round)
	kinds := []string{
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s}\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {a: b}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 80}]}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %s}\nrules: []\n",
		"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s}\nspec: {podSelector: {}}\n",
		"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: %s}\nspec: {minAvailable: 1, selector: {matchLabels: {a: b}}}\n",
		"apiVersion: v1\nkind: LimitRange\nmetadata: {name: %s}\nspec: {limits: []}\n",
		"apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: %s}\nspec: {}\n",
	}
	return fmt.Sprintf(kinds[round%len(kinds)], name)
}

// settleCrashed waits until both Applications are synced at a commit; none is
// any.
func (s *stage) settleCrashed(commit string) {
	s.test.Helper()
	for _, name := range []string{"big", "small"} {
		if commit == "" {
			commit = s.until(name, "Synced", metav1.ConditionTrue, "").Status.Revision
		}
		s.syncedAt(name, commit)
	}
}

// matches compares the objects that are ours, of all kinds, with those of a
// round; of a negative one there are no passing ones.
func (s *stage) matches(round int) {
	s.test.Helper()
	value := fmt.Sprint(round)
	want := crashObjects + passing
	if round < 0 {
		value, want = fmt.Sprint(*crashes+1), crashObjects
	}
	list, err := s.core.CoreV1().ConfigMaps(s.ns).List(s.test.Context(), metav1.ListOptions{LabelSelector: mizzen.LabelManaged})
	if err != nil {
		s.test.Fatal(err)
	}
	for _, cm := range list.Items {
		if cm.Data["value"] != value {
			s.test.Errorf("%s has value %q, Git says %q", cm.Name, cm.Data["value"], value)
		}
	}
	if len(list.Items) != want {
		s.test.Errorf("%d ConfigMaps, Git has %d", len(list.Items), want)
	}
	wantOthers := fmt.Sprintf("passing-%d", round)
	if round < 0 {
		wantOthers = ""
	}
	if others := s.others(); others != wantOthers {
		s.test.Errorf("objects of other kinds: %q, Git has %q", others, wantOthers)
	}
}

// others names the objects that are ours and no ConfigMaps.
func (s *stage) others() string {
	s.test.Helper()
	out, err := s.kubectlGet("serviceaccounts,secrets,services,roles,networkpolicies,poddisruptionbudgets,limitranges,leases")
	if err != nil {
		s.test.Fatal(err)
	}
	return out
}

// ledger is what a watch saw of every ConfigMap of the namespace.
type ledger struct {
	mu    sync.Mutex
	saw   map[string][]revisionOfObject
	value map[string]int // how many objects have had a value
	moved chan struct{}
}

type revisionOfObject struct{ version, value, event string }

// record begins to write down every change that a write had.
func (s *stage) record() *ledger {
	s.test.Helper()
	list, err := s.core.CoreV1().ConfigMaps(s.ns).List(s.test.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		s.test.Fatal(err)
	}
	long := int64(time.Hour / time.Second)
	w, err := s.core.CoreV1().ConfigMaps(s.ns).Watch(s.test.Context(), metav1.ListOptions{
		ResourceVersion: list.ResourceVersion, TimeoutSeconds: &long, LabelSelector: mizzen.LabelManaged,
	})
	if err != nil {
		s.test.Fatal(err)
	}
	s.test.Cleanup(w.Stop)
	l := &ledger{saw: map[string][]revisionOfObject{}, value: map[string]int{}, moved: make(chan struct{}, 1)}
	go func() {
		for e := range w.ResultChan() {
			l.take(e)
		}
	}()
	return l
}

func (l *ledger) take(e watch.Event) {
	cm, ok := e.Object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saw[cm.Name] = append(l.saw[cm.Name], revisionOfObject{cm.ResourceVersion, cm.Data["value"], string(e.Type)})
	if e.Type != watch.Deleted {
		l.value[cm.Data["value"]]++
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
// right already is not written again, by whichever process.
// It returns how many writes had an effect.
func (l *ledger) check(t *testing.T) (writes int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, revisions := range l.saw {
		for i, r := range revisions {
			if r.event != string(watch.Deleted) {
				writes++
			}
			if r.event == string(watch.Modified) && i > 0 && revisions[i-1].value == r.value {
				t.Errorf("%s was written twice with value %q: %v", name, r.value, revisions[i-1:i+1])
			}
			if r.event == string(watch.Added) && i > 0 && revisions[i-1].event != string(watch.Deleted) {
				t.Errorf("%s was created twice: %v", name, revisions)
			}
		}
	}
	t.Logf("%d writes with effect on %d objects", writes, len(l.saw))
	return writes
}

// kubectlGet lists the names of our objects of some kinds, without the kinds.
func (s *stage) kubectlGet(kinds string) (string, error) {
	out, err := s.run(context.Background(), "get", kinds, "-n", s.ns, "-l", mizzen.LabelManaged, "-o", "jsonpath={.items[*].metadata.name}")
	return strings.TrimSpace(out), err
}
