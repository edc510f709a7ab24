package effect_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
)

var update = flag.Bool("update", false, "write want.txt of the scenarios anew")

// TestScenarios compares meshes that are written as text (package scenario).
func TestScenarios(t *testing.T) {
	all, err := scenario.ReadAll("testdata")
	if err != nil {
		t.Fatal(err)
	}
	mutations, neutral := 0, 0
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			if len(s.Expect) == 0 {
				neutral++
			} else {
				mutations++
			}
			told(t, "testdata", s)
		})
	}
	if mutations < 40 || neutral < 15 {
		t.Errorf("%d mutations and %d neutral rewrites are too few", mutations, neutral)
	}
}

// told checks what is told of one scenario of a folder.
func told(t *testing.T, dir string, s *scenario.Scenario) {
	t.Helper()
	got := compare(t, s)
	if codes := codesOf(got); !cmp.Equal(codes, s.Expect) {
		t.Errorf("codes %v, expected %v", codes, s.Expect)
	}
	checkWitnesses(t, got)
	text := render(got)
	if *update {
		write(t, dir, s, text)
	}
	if diff := cmp.Diff(string(s.Content("want.txt")), text); diff != "" {
		t.Errorf("effects differ (-want +got):\n%s", diff)
	}
}

// TestElsewhere compares repositories that hold policies, and none of the
// workloads that they are about.
func TestElsewhere(t *testing.T) {
	const dir = "testdata/elsewhere"
	all, err := scenario.ReadAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) { told(t, dir, s) })
	}
}

func codesOf(effects []mizzen.Effect) []string {
	var out []string
	for _, e := range effects {
		out = append(out, string(e.Code))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// checkWitnesses holds that a witness shows a difference.
func checkWitnesses(t *testing.T, effects []mizzen.Effect) {
	t.Helper()
	for _, e := range effects {
		if w := e.Witness; w != nil && (w.Before == w.After || w.From == "" || w.URL == "") {
			t.Errorf("%s: the witness shows nothing: %+v", e.Code, *w)
		}
		if strings.Contains(e.Message, "%!") {
			t.Errorf("%s: message %q", e.Code, e.Message)
		}
	}
}

func compare(t testing.TB, s *scenario.Scenario) []mizzen.Effect {
	t.Helper()
	return compareMeshes(s, compiledSides(t, s))
}

func compareMeshes(s *scenario.Scenario, meshes [2]*traffic.Mesh) []mizzen.Effect {
	return effect.Compare(meshes[0], meshes[1], effect.Options{Before: s.Before.Objects, After: s.After.Objects})
}

func compiledSides(t testing.TB, s *scenario.Scenario) (meshes [2]*traffic.Mesh) {
	t.Helper()
	selections := s.Selections()
	newcomers := [2][]mizzen.Ref{1: compile.Newcomers(s.Before.Objects, s.After.Objects)}
	for i, side := range []scenario.Side{s.Before, s.After} {
		var err error
		if meshes[i], err = compile.Compile(t.Context(), side.Objects, compile.Options{MeshConfig: side.MeshConfig, Selections: selections, Newcomers: newcomers[i]}); err != nil {
			t.Fatal(err)
		}
	}
	return meshes
}

func write(t *testing.T, dir string, s *scenario.Scenario, text string) {
	t.Helper()
	s.Archive.Files = slices.DeleteFunc(s.Archive.Files, func(f txtar.File) bool { return f.Name == "want.txt" })
	s.Archive.Files = append(s.Archive.Files, txtar.File{Name: "want.txt", Data: []byte(text)})
	if err := os.WriteFile(filepath.Join(dir, s.Name+".txtar"), txtar.Format(s.Archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// render tells effects as a scenario shows them.
func render(effects []mizzen.Effect) string {
	var b strings.Builder
	for _, e := range effects {
		fmt.Fprintf(&b, "%s %s %s: %s\n", e.Code, e.Impact, e.Subject, e.Message)
		fmt.Fprintf(&b, "    before:  %s\n    after:   %s\n", e.Before, e.After)
		if len(e.Callers) > 0 {
			fmt.Fprintf(&b, "    callers: %s\n", strings.Join(e.Callers, ", "))
		}
		if e.Cause.Kind != "" || e.Origin.File != "" {
			fmt.Fprintf(&b, "    cause:   %s at %s\n", e.Cause, e.Origin)
		}
		if w := e.Witness; w != nil {
			from := w.From
			if w.Address != "" {
				from += " at " + w.Address
			}
			fmt.Fprintf(&b, "    witness: %s: %s %s", from, w.Method, w.URL)
			for _, k := range keys(w.Headers) {
				fmt.Fprintf(&b, " -H '%s: %s'", k, w.Headers[k])
			}
			if claims, err := json.Marshal(w.Claims); err == nil && len(w.Claims) > 0 {
				fmt.Fprintf(&b, " --claims '%s'", claims)
			}
			fmt.Fprintf(&b, "\n             %s\n          -> %s\n", w.Before, w.After)
		}
	}
	return b.String()
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// objects reads manifests.
func objects(t testing.TB, file string, text []byte) []mizzen.Object {
	t.Helper()
	out, err := scenario.Objects(file, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
