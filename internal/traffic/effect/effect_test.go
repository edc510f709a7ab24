package effect_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
		mizzen.EffectInjectionOff: mizzen.EffectInjectionOn,
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
func TestManyHosts(t *testing.T) {
	var hosts []string
	for i := range 1000 {
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
	got := effect.Compare(mesh(t, before), mesh(t, after), effect.Options{Before: before, After: after})
	if len(got) != 1 || got[0].Subject != "1000 hosts" || len(got[0].Message) > 400 {
		t.Errorf("got %d effects, the first %.500v", len(got), got)
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
