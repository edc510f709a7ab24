package discover

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// Bounds of what is read in search of manifests.
const (
	maxManifest  = 1 << 20
	maxDepth     = 64
	maxManifests = 50_000
)

// Manifest is an object as it stands in a file.
type Manifest struct {
	Object map[string]any
	Origin mizzen.Origin
}

// Scanner finds manifests of Applications and of the repositories that they
// name. It remembers directories by their content, so that a second revision
// costs what is different. It is for one goroutine.
type Scanner struct {
	known map[string][]Manifest
}

// NewScanner returns a Scanner that knows nothing yet.
func NewScanner() *Scanner { return &Scanner{known: map[string][]Manifest{}} }

// Scan returns the manifests below a directory in the order of their files. It
// fails if the Snapshot cannot be read.
func (s *Scanner) Scan(ctx context.Context, snapshot mizzen.Snapshot, directory string) ([]Manifest, error) {
	return s.scan(ctx, snapshot, directory, 0)
}

func (s *Scanner) scan(ctx context.Context, snapshot mizzen.Snapshot, directory string, depth int) ([]Manifest, error) {
	if err := ctx.Err(); err != nil || depth > maxDepth {
		return nil, err
	}
	id, err := snapshot.ID(directory)
	if err != nil {
		return nil, err
	}
	key := directory + "\x00" + id
	if found, ok := s.known[key]; ok {
		return found, nil
	}
	entries, err := snapshot.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var found []Manifest
	for _, e := range worth(entries) {
		name := path.Join(directory, e.Name())
		if !e.IsDir() {
			found = append(found, read(snapshot, name)...)
			continue
		}
		below, err := s.scan(ctx, snapshot, name, depth+1)
		if err != nil {
			return nil, err
		}
		if found = append(found, below...); len(found) > maxManifests {
			return nil, tooMany(directory)
		}
	}
	s.known[key] = found
	return found, nil
}

func tooMany(directory string) error {
	return &mizzen.Error{
		Kind: mizzen.TooLarge, Object: directory, Err: fmt.Errorf("it declares more than %d Applications", maxManifests),
		Remedy: "review a directory of it: mizzen plan --base REVISION DIRECTORY",
	}
}

// worth are the entries to look into. Templates of a chart are manifests only
// once they are rendered.
func worth(entries []fs.DirEntry) []fs.DirEntry {
	chart := isChart(entries)
	var kept []fs.DirEntry
	for _, e := range entries {
		switch {
		case e.IsDir() && (strings.HasPrefix(e.Name(), ".") || chart && (e.Name() == "templates" || e.Name() == "charts")):
		case e.IsDir() || isManifest(e):
			kept = append(kept, e)
		}
	}
	return kept
}

func isChart(entries []fs.DirEntry) bool {
	for _, e := range entries {
		if e.Name() == "Chart.yaml" {
			return true
		}
	}
	return false
}

func isManifest(e fs.DirEntry) bool {
	switch path.Ext(e.Name()) {
	case ".yaml", ".yml", ".json":
		return e.Type().IsRegular()
	}
	return false
}

// groups are those of the kinds that are read here.
var groups = []string{"mizzen.dev/", "argoproj.io/", ".toolkit.fluxcd.io/"}

// read returns the manifests of a file. What cannot be read holds none: whoever
// renders it says what is wrong with it.
func read(snapshot mizzen.Snapshot, name string) []Manifest {
	if info, err := snapshot.Stat(name); err != nil || info.Size() > maxManifest {
		return nil
	}
	b, err := snapshot.ReadFile(name)
	if err != nil || !mentions(b) {
		return nil
	}
	var found []Manifest
	for _, d := range documents(b) {
		if !mentions(d.text) {
			continue
		}
		var object map[string]any
		if yaml.Unmarshal(d.text, &object) != nil {
			continue
		}
		if kindOf(object) != kindNone {
			found = append(found, Manifest{object, mizzen.Origin{File: name, Line: d.line}})
		}
	}
	return found
}

func mentions(b []byte) bool {
	for _, g := range groups {
		if bytes.Contains(b, []byte(g)) {
			return true
		}
	}
	return false
}

// document is one of a YAML stream, with the line of its first field.
type document struct {
	text []byte
	line int
}

func documents(b []byte) []document {
	var all []document
	begin, line, at := 0, 0, 0
	flush := func(end int) {
		if text := b[begin:end]; len(bytes.TrimSpace(text)) > 0 {
			all = append(all, document{text, at})
		}
	}
	for pos := 0; pos < len(b); {
		end := pos + len(b[pos:])
		if i := bytes.IndexByte(b[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		text := bytes.TrimRight(b[pos:end], " \r\n\t")
		line++
		switch {
		case bytes.Equal(text, []byte("---")) || bytes.HasPrefix(text, []byte("--- ")):
			flush(pos)
			begin, at = end, 0
		case at == 0 && len(text) > 0 && text[0] != '#':
			at = line
		}
		pos = end
	}
	flush(len(b))
	return all
}

// Ref is the identity of the object.
func (m Manifest) Ref() mizzen.Ref { return mizzen.RefOf(&unstructured.Unstructured{Object: m.Object}) }

// In returns the manifest in a namespace.
func (m Manifest) In(namespace string) Manifest {
	object := (&unstructured.Unstructured{Object: m.Object}).DeepCopy()
	object.SetNamespace(namespace)
	m.Object = object.Object
	return m
}
