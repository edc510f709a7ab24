// Package schema judges an object by the schema of its kind as the API server
// would: unknown fields, types, required fields, values and, for custom
// resources, the rules in CEL. A schema is compiled once and may then be used
// by many goroutines.
package schema

import (
	"context"
	"fmt"
	"slices"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint/archive"
)

// Problem is what the API server would object to, or silently change.
type Problem struct {
	Code mizzen.Code
	// Severity is Fatal if the API server refuses the object.
	Severity mizzen.Severity
	// Path is the field; for a missing one, the place where it is missed.
	Path mizzen.Path
	// Message says what is wrong in one sentence that names the field. It
	// never quotes a value of a Secret.
	Message string
	// Remedy is what to do about it, if that is more than the message says.
	Remedy string
}

// Schema is the compiled schema of one kind.
type Schema struct {
	kind archive.Kind
	root *node
	// rules is nil if the kind has none in CEL.
	rules *rules
}

// Compile builds the schema of a kind from its definitions. ObjectMeta is that
// of Kubernetes, since a CustomResourceDefinition leaves it out.
func Compile(k archive.Kind, definitions archive.Definitions, meta *Metadata) (*Schema, error) {
	c := &compiler{definitions: definitions, custom: k.Custom, meta: meta.node, nodes: map[string]*node{}}
	root, err := c.root(k)
	if err != nil {
		return nil, fmt.Errorf("compile the schema of %s: %w", k.GroupVersionKind(), err)
	}
	s := &Schema{kind: k, root: root}
	if k.Custom {
		// A definition whose rules do not compile is judged without them: the
		// API server refuses such a definition, not the objects.
		s.rules = compileRules(definitions[k.Definition])
	}
	return s, nil
}

// Kind returns the kind that the schema is of.
func (s *Schema) Kind() archive.Kind { return s.kind }

// maxProblems bounds how many problems of one object are reported: the first
// few are read, and untrusted input must not fill the memory.
const maxProblems = 50

// Validate returns what is wrong with an object, in no particular order; at
// most 50 problems. The object is not changed.
func (s *Schema) Validate(ctx context.Context, object map[string]any) []Problem {
	w := s.walk(object, false)
	if w.full() {
		// Once more, so that the same ones are reported each time.
		w = s.walk(object, true)
	}
	refused := slices.ContainsFunc(w.problems, func(p Problem) bool { return p.Severity == mizzen.Fatal })
	if refused || s.rules == nil {
		return w.problems
	}
	return append(w.problems, s.rules.validate(ctx, object)...)
}

func (s *Schema) walk(object map[string]any, ordered bool) *walker {
	w := &walker{
		builtIn: !s.kind.Custom, quiet: s.kind.Group == "" && s.kind.Kind == "Secret",
		limit: maxProblems, ordered: ordered,
	}
	w.value(s.root, object)
	w.name(s.kind, object)
	return w
}

// Metadata is the compiled schema of ObjectMeta.
type Metadata struct{ node *node }

// MetadataDefinition is the name under which ObjectMeta is published.
const MetadataDefinition = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

// CompileMetadata compiles ObjectMeta.
func CompileMetadata(definitions archive.Definitions) (*Metadata, error) {
	c := &compiler{definitions: definitions, nodes: map[string]*node{}}
	n, err := c.named(MetadataDefinition)
	if err != nil {
		return nil, fmt.Errorf("compile ObjectMeta: %w", err)
	}
	return &Metadata{node: n}, nil
}
