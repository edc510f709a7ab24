package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

const (
	// maxLayers bounds how often kustomizations are entered. Bases that name
	// two bases each double their number with every level.
	maxLayers = 2000
	maxNested = 50
)

// A layer is one kustomization as it is entered: an overlay, a base or a
// component.
type layer struct {
	dir  string
	file string
	// root is the root node of the file, parsed its content.
	root   *yamlv3.Node
	parsed types.Kustomization
	// manifests are the files that hold resources, patches the patches in the
	// order in which Kustomize applies them.
	manifests []string
	patches   []patch
	findings  []mizzen.Finding
}

// survey reads all kustomizations below dir and refuses what must not be
// built, naming the line that asks for it. The first layer is that of dir;
// a layer comes after those that it builds upon, as Kustomize applies them,
// except for the first.
func survey(files *fileSystem, dir string) ([]*layer, error) {
	s := &surveyor{files: files}
	root, err := s.enter(dir, mizzen.Origin{}, nil)
	if err != nil {
		return nil, err
	}
	last := len(s.layers) - 1
	return append([]*layer{root}, s.layers[:last]...), nil
}

type surveyor struct {
	files   *fileSystem
	entered int
	layers  []*layer
}

// enter surveys the kustomization of dir; at is the line that names it, and
// above are the directories that lead to it.
func (s *surveyor) enter(dir string, at mizzen.Origin, above []string) (*layer, error) {
	if s.entered++; s.entered > maxLayers || len(above) > maxNested {
		return nil, &mizzen.Error{
			Kind: mizzen.TooLarge, Object: dir, Origin: at,
			Err:    fmt.Errorf("more than %d kustomizations, or more than %d levels of them", maxLayers, maxNested),
			Remedy: "divide the kustomization among several Applications",
		}
	}
	for _, d := range above {
		if d == dir {
			return nil, &mizzen.Error{
				Kind: mizzen.Invalid, Object: dir, Origin: at,
				Err: errors.New("the kustomization contains itself"), Remedy: "remove the reference to it",
			}
		}
	}
	l, err := s.load(dir, at)
	if err != nil {
		return nil, err
	}
	if err := s.inspect(l, append(above[:len(above):len(above)], dir)); err != nil {
		return nil, err
	}
	s.layers = append(s.layers, l)
	return l, nil
}

// load reads the one kustomization file of a directory.
func (s *surveyor) load(dir string, at mizzen.Origin) (*layer, error) {
	var l *layer
	for _, name := range render.KustomizationFiles {
		file := path.Join(dir, name)
		data, err := s.files.read(file)
		switch {
		case err == nil && l != nil:
			return nil, &mizzen.Error{
				Kind: mizzen.Invalid, Object: dir, Origin: at,
				Err:    fmt.Errorf("there are both %s and %s", path.Base(l.file), name),
				Remedy: "remove one of them",
			}
		case err == nil:
			if l, err = parse(dir, file, data); err != nil {
				return nil, err
			}
		case mizzen.KindOf(err) == mizzen.Refused || !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
	if l != nil {
		return l, nil
	}
	return nil, &mizzen.Error{
		Kind: mizzen.NotFound, Object: dir, Origin: at,
		Err:    fmt.Errorf("no kustomization here: %w", fs.ErrNotExist),
		Remedy: "correct the path, or add a kustomization.yaml",
	}
}

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

func parse(dir, file string, data []byte) (*layer, error) {
	docs, findings, err := manifest.Read(file, data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 || docs[0].Root.Kind != yamlv3.MappingNode {
		return nil, invalid(mizzen.Origin{File: file}, errors.New("a kustomization is one mapping"))
	}
	l := &layer{dir: dir, file: file, root: docs[0].Root, findings: findings}
	if err := l.parsed.Unmarshal(data); err != nil {
		at := mizzen.Origin{File: file}
		if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
			at = l.at(strings.Split(m[1], ".")[0])
		}
		return nil, invalid(at, err)
	}
	l.parsed.FixKustomization()
	return l, nil
}

func invalid(at mizzen.Origin, err error) error {
	return &mizzen.Error{Kind: mizzen.Invalid, Origin: at, Err: err, Remedy: "correct the kustomization"}
}

// at returns where a top-level key stands.
func (l *layer) at(key string) mizzen.Origin {
	o := mizzen.Origin{File: l.file}
	if k, _ := manifest.Entry(l.root, key); k != nil {
		o.Line = k.Line
	}
	return o
}

// atNode returns where a node of the kustomization stands.
func (l *layer) atNode(n *yamlv3.Node) mizzen.Origin {
	return mizzen.Origin{File: l.file, Line: n.Line}
}

// An entry is a string of a kustomization file, with its place.
type entry struct {
	value string
	at    mizzen.Origin
	node  *yamlv3.Node
}

// entries returns the strings below a top-level key: of the list itself, or of
// the named keys of its elements.
func (l *layer) entries(key string, fields ...string) []entry {
	list := manifest.Resolve(manifest.Child(l.root, key))
	if list == nil || list.Kind != yamlv3.SequenceNode {
		return nil
	}
	var all []entry
	for _, element := range list.Content {
		all = append(all, l.strings(element, fields)...)
	}
	return all
}

func (l *layer) strings(element *yamlv3.Node, fields []string) []entry {
	if len(fields) == 0 {
		return l.scalars(element)
	}
	var all []entry
	for _, field := range fields {
		all = append(all, l.scalars(manifest.Child(element, field))...)
	}
	return all
}

// scalars returns n if it is a scalar, or its elements if it is a list.
func (l *layer) scalars(n *yamlv3.Node) []entry {
	n = manifest.Resolve(n)
	switch {
	case n == nil:
		return nil
	case n.Kind == yamlv3.SequenceNode:
		var all []entry
		for _, element := range n.Content {
			all = append(all, l.scalars(element)...)
		}
		return all
	case n.Kind == yamlv3.ScalarNode:
		return []entry{{value: n.Value, at: mizzen.Origin{File: l.file, Line: n.Line}, node: n}}
	}
	return nil
}
