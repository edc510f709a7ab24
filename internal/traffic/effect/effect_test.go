package effect_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
)

func TestNothingToCompare(t *testing.T) {
	if got := effect.Compare(nil, nil, effect.Options{}); len(got) != 0 {
		t.Errorf("two empty meshes differ: %v", got)
	}
	mesh := compiled(t, "weights", "before.yaml")
	if got := effect.Compare(mesh, mesh, effect.Options{}); len(got) != 0 {
		t.Errorf("a mesh differs from itself: %v", got)
	}
}

// TestWithoutObjects: what happens is the same, only causes may be missing.
func TestWithoutObjects(t *testing.T) {
	got := effect.Compare(compiled(t, "weights", "before.yaml"), compiled(t, "weights", "after.yaml"), effect.Options{})
	if len(got) != 1 || got[0].Code != mizzen.EffectWeights || got[0].Cause.Name != "reviews" {
		t.Errorf("got %+v, want one change of weights by reviews", got)
	}
}

// TestReversed holds that a change and its reversal are told with the opposite
// code, so that nothing is told in one direction only.
func TestReversed(t *testing.T) {
	opposite := map[mizzen.EffectCode]mizzen.EffectCode{
		mizzen.EffectFails: mizzen.EffectServed, mizzen.EffectHostAdded: mizzen.EffectHostRemoved,
		mizzen.EffectMTLSWeaker: mizzen.EffectMTLSStronger, mizzen.EffectAuthorizationWider: mizzen.EffectAuthorizationNarrower,
		mizzen.EffectExposed: mizzen.EffectWithdrawn, mizzen.EffectEgressOpened: mizzen.EffectEgressClosed,
		mizzen.EffectInjectionOff: mizzen.EffectInjectionOn, mizzen.EffectBypass: mizzen.EffectBypassEnds,
	}
	for a, b := range opposite {
		opposite[b] = a
	}
	for _, name := range []string{
		"weights", "missing-subset", "service-added", "mtls-weaker", "authorization-added", "gateway-path", "injection-off",
		"timeout", "sidecar-scope", "gateway-certificate",
	} {
		b, a := compiled(t, name, "before.yaml"), compiled(t, name, "after.yaml")
		var want, got []string
		for _, e := range effect.Compare(b, a, effect.Options{}) {
			code := e.Code
			if o, ok := opposite[code]; ok {
				code = o
			}
			want = append(want, string(code))
		}
		for _, e := range effect.Compare(a, b, effect.Options{}) {
			got = append(got, string(e.Code))
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" || len(got) == 0 {
			t.Errorf("%s reversed (-want +got):\n%s", name, diff)
		}
	}
}

// TestOrderOfObjects holds that the result is a function of the sets of
// objects.
func TestOrderOfObjects(t *testing.T) {
	s := read(t, "client-tls")
	want := render(compare(t, s))
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		var meshes [2]*traffic.Mesh
		var sides [2][]mizzen.Object
		for i, side := range []scenario.Side{s.Before, s.After} {
			sides[i] = slices.Clone(side.Objects)
			random.Shuffle(len(sides[i]), func(a, b int) { sides[i][a], sides[i][b] = sides[i][b], sides[i][a] })
			meshes[i] = mesh(t, sides[i])
		}
		got := render(effect.Compare(meshes[0], meshes[1], effect.Options{Before: sides[0], After: sides[1]}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("another order tells otherwise (-want +got):\n%s", diff)
		}
	}
}

// TestManyHosts holds that a line that decides for very many hosts is told
// once, and in bounded words.
//
// The memory is bounded as well: hosts with the same rules are compared once, so
// that five times as many hosts take five times as much, and not more.
func TestManyHosts(t *testing.T) {
	few, many := manyHosts(t, 1000), manyHosts(t, 5000)
	for n, c := range map[int]*comparedHosts{1000: few, 5000: many} {
		if got := c.effects; len(got) != 1 || got[0].Subject != fmt.Sprintf("%d hosts", n) || len(got[0].Message) > 400 {
			t.Errorf("got %d effects, the first %.500v", len(got), got)
		}
	}
	if many.bytes > 6*few.bytes || many.bytes > 5000*maxBytesPerHost {
		t.Errorf("to compare 5,000 hosts takes %d bytes, 1,000 take %d", many.bytes, few.bytes)
	}
}

// maxBytesPerHost bounds what a host costs whose rules are those of another one:
// what istiod makes of it, on both sides, and its name.
const maxBytesPerHost = 128 << 10

// comparedHosts is what is told of a VirtualService with many hosts, and what
// the comparison allocated.
type comparedHosts struct {
	effects []mizzen.Effect
	bytes   int64
}

func manyHosts(t *testing.T, n int) *comparedHosts {
	t.Helper()
	var hosts []string
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("h%d.example", i))
	}
	text := func(subset string) []byte {
		return []byte(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: many, namespace: shop}
spec:
  hosts: [` + strings.Join(hosts, ", ") + `]
  http:
  - route: [{destination: {host: reviews, subset: ` + subset + `, port: {number: 9080}}}]
`)
	}
	base := read(t, "access-log-on").Before.Objects // only base.yaml
	before, after := scenario.Overlay(base, objects(t, "many.yaml", text("v1"))), scenario.Overlay(base, objects(t, "many.yaml", text("v2")))
	one, other := mesh(t, before), mesh(t, after)
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	got := effect.Compare(one, other, effect.Options{Before: before, After: after})
	runtime.ReadMemStats(&end)
	return &comparedHosts{got, int64(end.TotalAlloc - start.TotalAlloc)}
}

// TestUntriedIsTold holds that what the bounds leave out is said, once, for
// routes and for policies, and that within them nothing is said.
func TestUntriedIsTold(t *testing.T) {
	for name, c := range map[string]struct{ scenario, subject string }{
		"routes": {"order-of-rules", "reviews.shop:9080"}, "policies": {"authorization-path", "shop/orders"},
	} {
		s := read(t, c.scenario)
		before, after := mesh(t, s.Before.Objects), mesh(t, s.After.Objects)
		for bound, want := range map[int]int{0: 0, 2: 1} {
			n := 0
			for _, e := range effect.Compare(before, after, effect.Options{Before: s.Before.Objects, After: s.After.Objects, MaxCandidates: bound}) {
				if e.Code == mizzen.EffectUnknown && strings.HasPrefix(e.Message, "not everything was tried") {
					n++
					if e.Impact != mizzen.ImpactNotice || e.Subject != c.subject {
						t.Errorf("%s: %s %s", name, e.Impact, e.Subject)
					}
				}
			}
			if n != want {
				t.Errorf("%s: with a bound of %d it is said %d times", name, bound, n)
			}
		}
	}
}

func read(t testing.TB, name string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Read(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func compiled(t testing.TB, name, side string) *traffic.Mesh {
	t.Helper()
	s := read(t, name)
	if side == "before.yaml" {
		return mesh(t, s.Before.Objects)
	}
	return mesh(t, s.After.Objects)
}

func mesh(t testing.TB, objects []mizzen.Object) *traffic.Mesh {
	t.Helper()
	m, err := compile.Compile(t.Context(), objects, compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
