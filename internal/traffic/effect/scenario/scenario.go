// Package scenario reads the text files that say what a change does to a mesh:
// what goes in is a folder of them, what comes out are the objects of both sides
// and the codes of the Effects that are expected. It is for tests: those of
// package effect, and those that ask a real Envoy about the same.
//
// The first line of a file is "expect: CODE…", or "expect: none" for a change
// that means nothing. before.yaml and after.yaml are laid over base.yaml of the
// same folder, before.mesh and after.mesh are the settings of the mesh, and
// want.txt is what a reviewer is told.
package scenario

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// Scenario is one change of a mesh.
type Scenario struct {
	Name string
	// Expect are the codes of the Effects, sorted; none for a change that means
	// nothing.
	Expect        []string
	Before, After Side
	// Archive is the file as it was read.
	Archive *txtar.Archive
}

// Side is the mesh before or after the change.
type Side struct {
	Objects    []mizzen.Object
	MeshConfig []byte
}

// ReadAll returns the scenarios of a folder, by name. A folder without any is an
// error, as is a file that cannot be read as one.
func ReadAll(dir string) ([]*Scenario, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no scenarios", dir)
	}
	var out []*Scenario
	for _, file := range files {
		s, err := Read(file)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Read returns the scenario of one file. Its objects share nothing with those of
// another.
func Read(file string) (*Scenario, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	s := &Scenario{Name: strings.TrimSuffix(filepath.Base(file), ".txtar"), Archive: archive}
	if s.Expect, err = expectation(archive); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name, side := range map[string]*Side{"before": &s.Before, "after": &s.After} {
		if side.Objects, err = laidOver(filepath.Join(filepath.Dir(file), "base.yaml"), name+".yaml", s.Content(name+".yaml")); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		side.MeshConfig = s.Content(name + ".mesh")
	}
	return s, nil
}

// Selections are those of the objects that differ between the sides.
func (s *Scenario) Selections() []compile.Selection {
	var changed []mizzen.Object
	for _, sides := range [][2][]mizzen.Object{{s.Before.Objects, s.After.Objects}, {s.After.Objects, s.Before.Objects}} {
		for _, o := range sides[0] {
			if !slices.ContainsFunc(sides[1], func(other mizzen.Object) bool { return reflect.DeepEqual(o.Object, other.Object) }) {
				changed = append(changed, o)
			}
		}
	}
	return compile.Selections(changed, "")
}

// Content returns a file of the archive, nil if it is not there.
func (s *Scenario) Content(name string) []byte {
	for _, f := range s.Archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func laidOver(base, name string, text []byte) ([]mizzen.Object, error) {
	common, err := os.ReadFile(base)
	if err != nil {
		return nil, err
	}
	below, err := Objects(filepath.Base(base), common)
	if err != nil {
		return nil, err
	}
	over, err := Objects(name, text)
	return Overlay(below, over), err
}

// expectation reads the codes of the first line.
func expectation(a *txtar.Archive) ([]string, error) {
	line, _, _ := strings.Cut(string(a.Comment), "\n")
	codes, ok := strings.CutPrefix(line, "expect: ")
	if !ok {
		return nil, fmt.Errorf("the first line is %q, not expect: CODE…", line)
	}
	if codes == "none" {
		return nil, nil
	}
	out := strings.Fields(codes)
	slices.Sort(out)
	return out, nil
}

// Overlay replaces objects of the base by those of the same name.
func Overlay(base, over []mizzen.Object) []mizzen.Object {
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

// Objects reads manifests with the line of each field.
func Objects(file string, text []byte) ([]mizzen.Object, error) {
	var out []mizzen.Object
	for dec := yaml.NewDecoder(strings.NewReader(string(text))); ; {
		var node yaml.Node
		if err := dec.Decode(&node); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var m map[string]any
		if err := node.Decode(&m); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
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
