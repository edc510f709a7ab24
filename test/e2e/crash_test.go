package e2e

import (
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

var (
	crashes   = flag.Int("crashes", 50, "how many kills have to hit a sync")
	crashSeed = flag.Uint64("crash-seed", 0, "the seed of an earlier run; 0 makes a new one")
)

const (
	// crashClusters share the kills.
	crashClusters = 2
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
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -crash-seed=%d", seed)
	for cluster := range uint64(crashClusters) {
		t.Run(fmt.Sprint(cluster), func(t *testing.T) {
			t.Parallel()
			crash(t, (*crashes+crashClusters-1)/crashClusters, rand.New(rand.NewPCG(seed, cluster)))
		})
	}
}

// crash kills a process until so many kills have hit a sync.
func crash(t *testing.T, kills int, random *rand.Rand) {
	t.Helper()
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

	inside, round := 0, 0
	for inside < kills {
		if round++; round > 3*kills {
			t.Fatalf("only %d of %d kills hit a sync", inside, round)
		}
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
	t.Logf("%d of %d kills hit between the first and the last write", inside, round)
	last := crashFiles(round + 1)
	last["big/passing.yaml"] = "" // nothing new comes with the last commit
	commit := s.push("The last", last)
	p = launch(t, s.lab, s.state)
	s.settleCrashed(commit)
	s.matchesFiles(last)
	p.kill()
	asked, requests := 0, audit.Requests(t)
	for _, kind := range crashKinds {
		asked += len(effective(requests, kind.Resource, s.ns))
	}
	effects := seen.check(t, asked)
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
	if round == 0 { // nobody is killed, so that each kind is written once at least
		for other := 1; other < len(crashKinds)-1; other++ {
			files["big/passing.yaml"] += "---\n" + passingKind(other)
		}
	}
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

// crashKinds are the kinds of the objects of all rounds.
var crashKinds = []schema.GroupVersionResource{
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "limitranges"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
}

// matches compares the objects that are ours with those of a round.
func (s *stage) matches(round int) {
	s.test.Helper()
	s.matchesFiles(crashFiles(round))
}

// matchesFiles compares the objects that are ours, of all kinds, with the
// manifests: there are the same, and each has all that its manifest says.
func (s *stage) matchesFiles(files map[string]string) {
	s.test.Helper()
	ours := map[string]*unstructured.Unstructured{}
	for _, kind := range crashKinds {
		list, err := s.dynamic.Resource(kind).Namespace(s.ns).List(s.test.Context(), metav1.ListOptions{LabelSelector: mizzen.LabelManaged})
		if err != nil {
			s.test.Fatal(err)
		}
		for _, o := range list.Items {
			ours[o.GetKind()+" "+o.GetName()] = &o
		}
	}
	for _, want := range manifests(s.test, files) {
		name := want.GetKind() + " " + want.GetName()
		got := ours[name]
		if got == nil {
			s.test.Errorf("%s is in Git and not in the cluster", name)
			continue
		}
		delete(ours, name)
		for _, field := range lacks(want.Object, got.Object, "") {
			s.test.Errorf("%s: %s is not as in Git", name, field)
		}
		if diff := cmp.Diff(want.Object["data"], got.Object["data"]); diff != "" {
			s.test.Errorf("%s (-Git +cluster):\n%s", name, diff)
		}
	}
	for name := range ours {
		s.test.Errorf("%s is in the cluster and not in Git", name)
	}
}

// manifests reads files as the API server would keep them.
func manifests(t *testing.T, files map[string]string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for file, text := range files {
		for document := range strings.SplitSeq(text, "---\n") {
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if len(o.Object) == 0 {
				continue
			}
			if plain, ok := o.Object["stringData"].(map[string]any); ok {
				data := map[string]any{}
				for key, value := range plain {
					data[key] = base64.StdEncoding.EncodeToString([]byte(value.(string)))
				}
				o.Object["data"] = data
				delete(o.Object, "stringData")
			}
			objects = append(objects, o)
		}
	}
	return objects
}

// lacks names the fields that a value has otherwise than is wanted. What is
// not wanted may be there: the API server has defaults. Empty is as good as
// absent.
func lacks(want, got any, path string) (fields []string) {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for key, value := range w {
			fields = append(fields, lacks(value, g[key], path+"."+key)...)
		}
	case []any:
		g, _ := got.([]any)
		if len(w) != len(g) {
			return []string{path}
		}
		for i := range w {
			fields = append(fields, lacks(w[i], g[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
	default:
		if fmt.Sprint(want) != fmt.Sprint(got) {
			fields = append(fields, path)
		}
	}
	return fields
}
