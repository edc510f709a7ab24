package effect_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
)

var update = flag.Bool("update", false, "write want.txt of the scenarios anew")

// TestScenarios compares meshes that are written as text. A scenario's first
// line says which codes are expected, "expect: none" for a change that means
// nothing; before.yaml and after.yaml are laid over testdata/base.yaml, and
// want.txt is what a reviewer is told.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	mutations, neutral := 0, 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			if told(t, file, "testdata/base.yaml") {
				mutations++
			} else {
				neutral++
			}
		})
	}
	if mutations < 40 || neutral < 15 {
		t.Errorf("%d mutations and %d neutral rewrites are too few", mutations, neutral)
	}
}

// told checks one scenario, and tells whether it expects any effect.
func told(t *testing.T, file, base string) bool {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	expected := expectation(t, archive)
	got := compareOver(t, archive, base)
	if codes := codesOf(got); !cmp.Equal(codes, expected) {
		t.Errorf("codes %v, expected %v", codes, expected)
	}
	checkWitnesses(t, got)
	text := render(got)
	if *update {
		write(t, file, archive, text)
	}
	if diff := cmp.Diff(string(content(archive, "want.txt")), text); diff != "" {
		t.Errorf("effects differ (-want +got):\n%s", diff)
	}
	return len(expected) > 0
}

// expectation reads the codes of the first line.
func expectation(t *testing.T, a *txtar.Archive) []string {
	t.Helper()
	line, _, _ := strings.Cut(string(a.Comment), "\n")
	codes, ok := strings.CutPrefix(line, "expect: ")
	if !ok {
		t.Fatalf("the first line is %q, not expect: CODE…", line)
	}
	if codes == "none" {
		return nil
	}
	out := strings.Fields(codes)
	slices.Sort(out)
	return out
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

func compare(t testing.TB, a *txtar.Archive) []mizzen.Effect {
	t.Helper()
	return compareOver(t, a, "testdata/base.yaml")
}

func compareOver(t testing.TB, a *txtar.Archive, base string) []mizzen.Effect {
	t.Helper()
	common := objects(t, "base.yaml", read(t, base))
	var meshes [2]*traffic.Mesh
	var sides [2][]mizzen.Object
	for i, name := range []string{"before.yaml", "after.yaml"} {
		sides[i] = overlay(common, objects(t, name, content(a, name)))
		o := compile.Options{MeshConfig: content(a, strings.TrimSuffix(name, ".yaml")+".mesh")}
		var err error
		if meshes[i], err = compile.Compile(t.Context(), sides[i], o); err != nil {
			t.Fatal(err)
		}
	}
	return effect.Compare(meshes[0], meshes[1], effect.Options{Before: sides[0], After: sides[1]})
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func content(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func write(t *testing.T, file string, a *txtar.Archive, text string) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "want.txt" })
	a.Files = append(a.Files, txtar.File{Name: "want.txt", Data: []byte(text)})
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
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
			fmt.Fprintf(&b, "    witness: %s: %s %s", w.From, w.Method, w.URL)
			for _, k := range keys(w.Headers) {
				fmt.Fprintf(&b, " -H '%s: %s'", k, w.Headers[k])
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

// overlay replaces objects of the base by those of the same name.
func overlay(base, over []mizzen.Object) []mizzen.Object {
	byRef := map[mizzen.Ref]bool{}
	for _, o := range over {
		byRef[o.Ref()] = true
	}
	out := slices.Clone(over)
	for _, o := range base {
		if !byRef[o.Ref()] {
			out = append(out, o)
		}
	}
	return out
}

// objects reads manifests with the line of each field.
func objects(t testing.TB, file string, text []byte) []mizzen.Object {
	t.Helper()
	var out []mizzen.Object
	for dec := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var node yaml.Node
		if err := dec.Decode(&node); err != nil {
			if err.Error() == "EOF" {
				return out
			}
			t.Fatal(err)
		}
		var m map[string]any
		if err := node.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if len(m) == 0 {
			continue
		}
		o := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: jsonLike(m).(map[string]any)}}
		o.Origins.Fields = map[mizzen.Path]mizzen.Origin{}
		lines(node.Content[0], "", file, o.Origins.Fields)
		o.Origins.Object = mizzen.Origin{File: file, Line: node.Content[0].Line}
		out = append(out, o)
	}
}

func lines(n *yaml.Node, at mizzen.Path, file string, to map[mizzen.Path]mizzen.Origin) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			p := at.Key(n.Content[i].Value)
			to[p] = mizzen.Origin{File: file, Line: n.Content[i].Line}
			lines(n.Content[i+1], p, file, to)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			to[at.Index(i)] = mizzen.Origin{File: file, Line: c.Line}
			lines(c, at.Index(i), file, to)
		}
	}
}

// jsonLike makes of YAML's values what the API server's JSON holds.
func jsonLike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = jsonLike(v[k])
		}
	case map[any]any:
		out := map[string]any{}
		for k := range v {
			out[fmt.Sprint(k)] = jsonLike(v[k])
		}
		return out
	case []any:
		for i := range v {
			v[i] = jsonLike(v[i])
		}
	case int:
		return int64(v)
	}
	return v
}
