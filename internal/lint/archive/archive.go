// Package archive keeps the schemas of many kinds in little room: definitions
// without descriptions, compressed, and unpacked only when a kind is first
// asked for. What the API server publishes, what a CustomResourceDefinition
// holds and what is built into the binary all take this form.
package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxUnpacked bounds what an archive may unpack to, in bytes. All of
// Kubernetes takes a hundredth of it.
const maxUnpacked = 256 << 20

// Kind is a kind that an Archive holds the schema of.
type Kind struct {
	Group   string `json:"group,omitempty"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	// Namespaced tells whether objects of the kind live in a namespace.
	Namespaced bool `json:"namespaced,omitempty"`
	// Custom is set for kinds that a CustomResourceDefinition defines: the API
	// server judges them by the schema alone, and not by Go types.
	Custom bool `json:"custom,omitempty"`
	// Definition is the name of the kind's schema.
	Definition string `json:"definition"`
}

// GroupVersionKind returns the kind with its group and version.
func (k Kind) GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
}

// Definitions maps names to schemas. A schema refers to another one by its
// bare name in Ref.
type Definitions map[string]*apiextensionsv1.JSONSchemaProps

// Archive is an immutable set of kinds and definitions. The zero value is
// empty. It may be used by many goroutines.
type Archive struct {
	kinds  map[schema.GroupVersionKind]Kind
	packed []byte
}

// The lines of the unpacked form: a header, kinds sorted, then definitions
// sorted. Each begins with its mark.
const (
	kindMark       = 'k'
	definitionMark = 'd'
)

// New packs kinds and the definitions that they reach. Versions of a custom
// resource with equal schemas share one.
func New(kinds []Kind, definitions Definitions) (*Archive, error) {
	kinds = slices.Clone(kinds)
	slices.SortFunc(kinds, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Version, b.Version))
	})
	encoded, err := encode(kinds, definitions)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	// The level matters: the built-in archives are part of the binary.
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	a := &Archive{kinds: make(map[schema.GroupVersionKind]Kind, len(kinds))}
	for _, k := range kinds {
		if same, ok := encoded.alias[k.Definition]; ok {
			k.Definition = same
		}
		a.kinds[k.GroupVersionKind()] = k
		line, err := json.Marshal(k)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", k.GroupVersionKind(), err)
		}
		fmt.Fprintf(z, "%c\t%s\n", kindMark, line)
	}
	for _, name := range encoded.names {
		fmt.Fprintf(z, "%c\t%s\t%s\n", definitionMark, name, encoded.schemas[name])
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack schemas: %w", err)
	}
	a.packed = out.Bytes()
	return a, nil
}

type encoding struct {
	names   []string
	schemas map[string]string
	// alias maps the definition of a kind to an equal one that is kept.
	alias map[string]string
}

func encode(kinds []Kind, definitions Definitions) (*encoding, error) {
	e := &encoding{schemas: map[string]string{}, alias: map[string]string{}}
	// Nothing refers to the schema of a custom resource.
	unreferenced := map[string]bool{}
	for _, k := range kinds {
		unreferenced[k.Definition] = k.Custom
	}
	kept := map[string]string{}
	for _, name := range reach(kinds, definitions) {
		b, err := json.Marshal(strip(definitions[name]))
		if err != nil {
			return nil, fmt.Errorf("encode schema %s: %w", name, err)
		}
		same, ok := kept[string(b)]
		if ok && unreferenced[name] {
			e.alias[name] = same
			continue
		}
		kept[string(b)] = name
		e.names = append(e.names, name)
		e.schemas[name] = string(b)
	}
	return e, nil
}

// reach returns the names of all definitions that kinds need, sorted.
func reach(kinds []Kind, definitions Definitions) []string {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] || definitions[name] == nil {
			return
		}
		seen[name] = true
		walk(definitions[name], func(s *apiextensionsv1.JSONSchemaProps) {
			if s.Ref != nil {
				visit(*s.Ref)
			}
		})
	}
	for _, k := range kinds {
		visit(k.Definition)
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Open reads what Bytes returned.
func Open(packed []byte) (*Archive, error) {
	a := &Archive{kinds: map[schema.GroupVersionKind]Kind{}, packed: packed}
	err := a.lines(func(mark byte, rest []byte) (bool, error) {
		if mark != kindMark {
			return false, nil
		}
		var k Kind
		if err := json.Unmarshal(rest, &k); err != nil {
			return false, fmt.Errorf("read kind: %w", err)
		}
		a.kinds[k.GroupVersionKind()] = k
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Bytes returns the packed form.
func (a *Archive) Bytes() []byte { return a.packed }

// Kinds returns all kinds, in no particular order.
func (a *Archive) Kinds() []Kind {
	kinds := make([]Kind, 0, len(a.kinds))
	for _, k := range a.kinds {
		kinds = append(kinds, k)
	}
	return kinds
}

// Find returns a kind; ok is false if the archive does not hold it.
func (a *Archive) Find(gvk schema.GroupVersionKind) (k Kind, ok bool) {
	k, ok = a.kinds[gvk]
	return k, ok
}

// Definitions unpacks the definition of the given name and all that it
// reaches. Nothing of it stays in the Archive.
func (a *Archive) Definitions(name string) (Definitions, error) {
	raw := map[string][]byte{}
	err := a.lines(func(mark byte, rest []byte) (bool, error) {
		if mark == definitionMark {
			name, body, ok := bytes.Cut(rest, []byte{'\t'})
			if !ok {
				return false, errors.New("read schemas: a line lacks its name")
			}
			raw[string(name)] = body
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	found := Definitions{}
	for pending := []string{name}; len(pending) > 0; pending = pending[1:] {
		body, ok := raw[pending[0]]
		if !ok || found[pending[0]] != nil {
			continue
		}
		s := &apiextensionsv1.JSONSchemaProps{}
		if err := json.Unmarshal(body, s); err != nil {
			return nil, fmt.Errorf("read schema %s: %w", pending[0], err)
		}
		found[pending[0]] = s
		walk(s, func(s *apiextensionsv1.JSONSchemaProps) {
			if s.Ref != nil {
				pending = append(pending, *s.Ref)
			}
		})
	}
	return found, nil
}

// lines calls yield with every line until it returns false. The bytes belong
// to the caller.
func (a *Archive) lines(yield func(mark byte, rest []byte) (bool, error)) error {
	if len(a.packed) == 0 {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(a.packed))
	if err != nil {
		return fmt.Errorf("unpack schemas: %w", err)
	}
	r := bufio.NewReaderSize(io.LimitReader(z, maxUnpacked), 1<<16)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack schemas: %w", err)
		}
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if len(line) < 2 {
			return errors.New("unpack schemas: a line is too short")
		}
		if more, err := yield(line[0], line[2:]); err != nil || !more {
			return err
		}
	}
}

// reversed returns the name under which the API server publishes the schema of
// a custom resource: the group's labels in reverse, version and kind.
func reversed(gvk schema.GroupVersionKind) string {
	labels := strings.Split(gvk.Group, ".")
	slices.Reverse(labels)
	return strings.Join(append(labels, gvk.Version, gvk.Kind), ".")
}
