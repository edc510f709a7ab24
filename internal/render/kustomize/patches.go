package kustomize

import (
	"fmt"
	"path"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// A patch is one document of a patch of a kustomization.
type patch struct {
	doc manifest.Document
	// at is where the patch begins. Lines of doc are those of at.File only if
	// exact is set: an inline patch that is folded or quoted has no lines.
	at     mizzen.Origin
	exact  bool
	target *types.Selector
}

// collectPatches reads the patches of a layer, in the order in which
// Kustomize applies them.
func (s *surveyor) collectPatches(l *layer) error {
	for _, e := range l.entries("patchesStrategicMerge") {
		if err := s.collectPatch(l, e, isInline(e.value), nil); err != nil {
			return err
		}
	}
	for _, key := range []string{"patches", "patchesJson6902"} {
		list := manifest.Resolve(manifest.Child(l.root, key))
		if list == nil {
			continue
		}
		for _, element := range list.Content {
			if err := s.collectElement(l, element); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *surveyor) collectElement(l *layer, element *yamlv3.Node) error {
	var target *types.Selector
	if n := manifest.Child(element, "target"); n != nil {
		target = &types.Selector{}
		if err := n.Decode(target); err != nil {
			return invalid(mizzen.Origin{File: l.file, Line: n.Line}, fmt.Errorf("target of a patch: %w", err))
		}
	}
	for _, e := range l.strings(element, []string{"path"}) {
		if err := s.collectPatch(l, e, false, target); err != nil {
			return err
		}
	}
	for _, e := range l.strings(element, []string{"patch"}) {
		if err := s.collectPatch(l, e, true, target); err != nil {
			return err
		}
	}
	return nil
}

func (s *surveyor) collectPatch(l *layer, e entry, inline bool, target *types.Selector) error {
	file, text, first, exact := l.file, []byte(e.value), e.at.Line, false
	if inline {
		// The lines of a literal block are those of the file, below the "|".
		exact = e.node.Style&yamlv3.LiteralStyle != 0
	} else {
		file, first, exact = path.Join(l.dir, e.value), 0, true
		var err error
		if text, err = s.files.read(file); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
	}
	docs, findings, err := manifest.Read(file, text)
	if err != nil {
		return moved(err, e.at, inline)
	}
	if !inline {
		l.findings = append(l.findings, findings...)
	}
	for _, doc := range docs {
		if inline {
			manifest.Shift(doc.Root, first)
		}
		at := mizzen.Origin{File: file, Line: doc.Root.Line}
		if !exact {
			at.Line = first
		}
		l.patches = append(l.patches, patch{doc: doc, at: at, exact: exact, target: target})
	}
	return nil
}

// moved gives an error in an inline patch the line of the patch.
func moved(err error, at mizzen.Origin, inline bool) error {
	if !inline {
		return err
	}
	return invalid(at, fmt.Errorf("inline patch: %s", strings.TrimPrefix(err.Error(), at.File+":")))
}

// lastKey returns the last name of a path, without indices.
func lastKey(p mizzen.Path) string {
	s := string(p)
	for strings.HasSuffix(s, "]") {
		i := strings.LastIndexByte(s, '[')
		if i < 0 {
			return ""
		}
		s = s[:i]
	}
	return s[strings.LastIndexByte(s, '.')+1:]
}
