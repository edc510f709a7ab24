package kustomize

import (
	"fmt"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// writers knows, for each field of an object, who wrote it last. A line is
// told only if what stands there is what was built, so a writer that was
// overlooked costs a line and never makes a wrong one: were its value another,
// the field would not have the value of the line.
type writers struct {
	object map[string]any
	// last is the last writer of a field by its keyed path; lists are how many
	// writers there are to each list whose elements only their number tells
	// apart.
	last  map[string]writer
	lists map[string]int
	// length is the number of elements that the last writer gave a list.
	length map[string]int
}

type writer struct {
	value  string
	scalar bool
	at     mizzen.Origin
}

func newWriters(object map[string]any) *writers {
	return &writers{object: object, last: map[string]writer{}, lists: map[string]int{}, length: map[string]int{}}
}

// Keyed paths name elements of lists by their name where they have one, so
// that they mean the same in a base, a patch and the result.
func keyed(parent, key string) string { return parent + "/" + strconv.Quote(key) }

func keyedName(parent, name string) string { return parent + "/name=" + strconv.Quote(name) }

func keyedIndex(parent string, i int) string { return parent + "/#" + strconv.Itoa(i) }

func (w *writers) addBase(base *manifest.Item) {
	if base != nil && base.Node != nil {
		w.node("", base.Node, base.Node, base.File, true)
	}
}

// node adds what stands below a node. at is where the field is written.
func (w *writers) node(p string, at, n *yamlv3.Node, file string, exact bool) {
	n = manifest.Resolve(n)
	if n == nil {
		return
	}
	o := mizzen.Origin{File: file}
	if exact {
		o.Line = at.Line
	}
	switch n.Kind {
	case yamlv3.ScalarNode:
		w.last[p] = writer{value: n.Value, scalar: true, at: o}
	case yamlv3.SequenceNode:
		w.last[p] = writer{at: o}
		w.sequence(p, n, file, exact)
	case yamlv3.MappingNode:
		if _, known := w.last[p]; !known {
			w.last[p] = writer{at: o}
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if name := n.Content[i].Value; !seen[name] {
				seen[name] = true
				key, value := manifest.Entry(n, name)
				if key != nil {
					w.node(keyed(p, name), key, value, file, exact)
				}
			}
		}
	}
}

func (w *writers) sequence(p string, n *yamlv3.Node, file string, exact bool) {
	w.lists[p]++
	w.length[p] = len(n.Content)
	for i, element := range n.Content {
		name := manifest.Child(element, "name")
		if name != nil {
			w.node(keyedName(p, name.Value), element, element, file, exact)
			continue
		}
		w.node(keyedIndex(p, i), element, element, file, exact)
	}
}

func (w *writers) addPatch(p patch) {
	if p.doc.Root.Kind == yamlv3.MappingNode {
		w.node("", p.doc.Root, p.doc.Root, p.at.File, p.exact)
		return
	}
	for _, op := range p.doc.Root.Content {
		w.operation(manifest.Resolve(op), p)
	}
}

// operation adds one operation of a JSON patch.
func (w *writers) operation(op *yamlv3.Node, p patch) {
	pointer, value := manifest.Child(op, "path"), manifest.Child(op, "value")
	if pointer == nil {
		return
	}
	target, list := w.resolve(strings.Split(strings.TrimPrefix(pointer.Value, "/"), "/"))
	if list != "" {
		// Elements of a list may have moved.
		w.lists[list] += 2
	}
	if verb := manifest.Child(op, "op"); value == nil || verb == nil || verb.Value != "add" && verb.Value != "replace" {
		return
	}
	at, _ := manifest.Entry(op, "value")
	w.node(target, at, value, p.at.File, p.exact)
}

// resolve translates a JSON pointer to a keyed path by what was built, and
// returns the list that it leads to an element of, if it does.
func (w *writers) resolve(parts []string) (keyedPath, list string) {
	var current any = w.object
	for _, part := range parts {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		elements, isList := current.([]any)
		i, err := strconv.Atoi(part)
		if !isList || err != nil || i >= len(elements) {
			if isList {
				list = keyedPath
			}
			table, _ := current.(map[string]any)
			current, keyedPath = table[part], keyed(keyedPath, part)
			continue
		}
		list, current = keyedPath, elements[i]
		keyedPath = element(keyedPath, i, current)
	}
	return keyedPath, list
}

// element returns the keyed path of an element of a list.
func element(list string, i int, value any) string {
	if table, ok := value.(map[string]any); ok {
		if name, ok := table["name"].(string); ok {
			return keyedName(list, name)
		}
	}
	return keyedIndex(list, i)
}

// fields returns the origin of every field of the object.
func (w *writers) fields(object mizzen.Origin) map[mizzen.Path]mizzen.Origin {
	fields := map[mizzen.Path]mizzen.Origin{}
	unknown := mizzen.Origin{File: object.File, Via: object.Via}
	var walk func(p mizzen.Path, at string, v any, sure bool)
	visit := func(p mizzen.Path, at string, v any, sure bool) {
		fields[p] = unknown
		if o, ok := w.proven(at, v); ok && sure {
			fields[p] = o
			if o.File != object.File {
				fields[p] = mizzen.Origin{File: o.File, Line: o.Line, Via: []mizzen.Origin{{File: object.File, Line: object.Line}}}
			}
		}
		walk(p, at, v, sure)
	}
	walk = func(p mizzen.Path, at string, v any, sure bool) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				visit(p.Key(key), keyed(at, key), value, sure)
			}
		case []any:
			for i, value := range v {
				next := element(at, i, value)
				// Numbers tell elements apart only in a list of one writer.
				byNumber := next == keyedIndex(at, i)
				visit(p.Index(i), next, value, sure && (!byNumber || w.lists[at] == 1 && w.length[at] == len(v)))
			}
		}
	}
	walk("", "", w.object, true)
	return fields
}

// proven returns the place of the last writer of a field, if it has a line and
// what stands there is the value.
func (w *writers) proven(at string, v any) (mizzen.Origin, bool) {
	last, ok := w.last[at]
	if !ok || last.at.Line == 0 {
		return mizzen.Origin{}, false
	}
	switch v.(type) {
	case map[string]any, []any:
		return last.at, !last.scalar
	}
	return last.at, last.scalar && (last.value == fmt.Sprint(v) || v == nil)
}
