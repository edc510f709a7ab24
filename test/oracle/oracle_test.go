// Package oracle compares what Mizzen predicts with what a stock Envoy does:
// istiod's code compiles a mesh, Envoy runs the result, and each request is
// asked of both.
package oracle

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	istiolog "istio.io/istio/pkg/log"

	"mizzen.dev/mizzen/internal/traffic/release"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// enough is how many requests find all mistakes; less is for a look at one
// mesh.
const enough = 20_000

// enoughConfigurations is how many configurations they are sent to, since most
// mistakes need a rule that only a few meshes have.
const enoughConfigurations = 60

var (
	requests = flag.Int("oracle.requests", enough, "requests in all")
	meshes   = flag.Int("oracle.meshes", 18, "generated meshes")
	first    = flag.Uint64("oracle.seed", 1, "seed of the first generated mesh")
)

// enoughSplit is how many connections routes of bytes are to send to subsets,
// and enoughNamed how many of them by the name of a server.
const (
	enoughSplit = 100
	enoughNamed = 10
)

// shown is how many disagreements of one kind are told.
const shown = 3

func TestMain(m *testing.M) {
	for _, s := range istiolog.Scopes() {
		s.SetOutputLevel(istiolog.NoneLevel)
	}
	os.Exit(m.Run())
}

func newBench(t *testing.T) *trial.Bench {
	t.Helper()
	binary, err := filepath.Abs("../../bin/envoy")
	if err != nil {
		t.Fatal(err)
	}
	bench, err := trial.NewBench(binary)
	if err != nil {
		t.Fatal(err)
	}
	return bench
}

// TestEnvoyIsTheModels holds that the Envoy that judges is of the release that
// users are told the model follows.
func TestEnvoyIsTheModels(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), newBench(t).Binary, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "/"+release.Envoy+".") {
		t.Errorf("the model follows Envoy %s, and what judges it is %s", release.Envoy, out)
	}
}

// record counts what was asked, and keeps some for the test of the generator.
type record struct {
	configurations, requests, again, disagreements int
	// split counts connections whose bytes a route sent to a subset, and named
	// those of them that asked for a server by its name.
	split, named int

	kinds, shown map[string]int
	kept         []trial.Asked
	calls        []trial.CallAsked
}

// kept is how many requests and calls are kept: each holds its mesh.
const kept = 25_000

func (r *record) see(t *testing.T, name string, a trial.Asked) {
	t.Helper()
	r.count(a.Observed.Kind, a.Again)
	if len(r.kept) < kept {
		r.kept = append(r.kept, a)
	}
	if a.Agree() {
		return
	}
	r.disagree(t, name, a.Predicted, a.Observed, a)
}

func (r *record) count(kind string, again bool) {
	r.requests++
	r.kinds[kind]++
	if again {
		r.again++
	}
}

// disagree tells the first few of each kind.
func (r *record) disagree(t *testing.T, name string, predicted, observed trial.Fate, what fmt.Stringer) {
	t.Helper()
	r.disagreements++
	kind := ""
	for _, line := range trial.Differences(predicted, observed) {
		field, _, _ := strings.Cut(line, ":")
		kind += field
	}
	if r.shown[kind]++; r.shown[kind] <= shown {
		t.Errorf("%s: %s", name, what)
	}
}

func (r *record) seeCall(t *testing.T, name string, a trial.CallAsked) {
	t.Helper()
	r.count(a.Observed.Kind, a.Again)
	if a.Observed.Kind == "bytes" && strings.Contains(a.Observed.Cluster, "|v") {
		r.split++
		if a.Call.ServerName != "" {
			r.named++
		}
	}
	if len(r.calls) < kept {
		r.calls = append(r.calls, a)
	}
	if !a.Agree() {
		r.disagree(t, name, a.Predicted, a.Observed, a)
	}
}

// run tries one configuration in an Envoy of its own.
func (r *record) run(t *testing.T, bench *trial.Bench, c configuration, seed uint64, n int) {
	t.Helper()
	x, err := bench.Start(t.Context(), c.proxy, c.side, t.TempDir())
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	defer x.Close()
	r.configurations++
	rnd := rand.New(rand.NewPCG(seed, 2))
	// What arrives at servers is about who calls.
	arrives := c.side == runnable.Inbound || c.side == runnable.Waypoint
	calls := n / 10
	if arrives {
		calls = n
	}
	if c.proxy.Workload != nil {
		list, err := x.Calls(rnd, calls)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Call(t.Context(), list, func(a trial.CallAsked) { r.seeCall(t, c.name, a) }); err != nil {
			t.Error(err)
		}
	}
	if arrives {
		return
	}
	if err := x.Run(t.Context(), rand.New(rand.NewPCG(seed, 1)), n, func(a trial.Asked) { r.see(t, c.name, a) }); err != nil {
		t.Error(err)
	}
}

// TestPredictions asks the same of the matcher and of Envoy, and then of
// matchers with a mistake each, which the requests must find out.
func TestPredictions(t *testing.T) {
	bench := newBench(t)
	r := &record{kinds: map[string]int{}, shown: map[string]int{}}
	written := scenarios(t, "testdata/*.yaml", bench.Signer.JWKS())
	each := *requests / (len(written) + 4**meshes)
	for _, c := range written {
		n := each
		if strings.HasPrefix(c.name, "routes") {
			n *= 6 // these have many routes, each at several listeners
		}
		r.run(t, bench, c, 1, n)
	}
	for i := range *meshes {
		seed := *first + uint64(i)
		m, err := generate.NewMesh(seed, bench.Signer.JWKS())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range sides(compiled(t, m), fmt.Sprintf("mesh %d", seed)) {
			r.run(t, bench, c, seed, each)
		}
	}
	t.Logf("%d requests to %d configurations, %d of them twice, %d disagreements, %d split and %d of them by name, %v",
		r.requests, r.configurations, r.again, r.disagreements, r.split, r.named, r.kinds)
	if *requests < enough {
		return
	}
	if r.requests < enough || r.configurations < enoughConfigurations {
		t.Errorf("%d requests to %d configurations were sent, want %d to %d", r.requests, r.configurations, enough, enoughConfigurations)
	}
	if r.split < enoughSplit || r.named < enoughNamed {
		t.Errorf("bytes of %d connections were sent to subsets, of %d by server name, want %d and %d", r.split, r.named, enoughSplit, enoughNamed)
	}
	t.Run("mistakes", func(t *testing.T) { testMistakes(t, r.kept) })
	t.Run("mistakes of policies", func(t *testing.T) { testCallMistakes(t, callMistakes, r.calls) })
}
