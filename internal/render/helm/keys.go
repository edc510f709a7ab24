package helm

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	yamlv3 "go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// keys finds the values key that alone yields what an action printed.
type keys struct {
	r *rendering
	// defaults are the values.yaml of charts, by the path to the chart.
	defaults map[string]valuesFile
}

func newKeys(r *rendering) *keys {
	k := &keys{r: r, defaults: map[string]valuesFile{}}
	for _, t := range r.templates {
		scope := strings.Join(t.scope, ".")
		if _, known := k.defaults[scope]; known {
			continue
		}
		k.defaults[scope] = r.loaded.defaultsOf(t)
	}
	return k
}

// faithful are the functions that print a value as it is, but for its form.
var faithful = []string{"quote", "squote", "toString", "toYaml", "toJson", "int", "int64", "float64", "indent", "nindent", "default", "required", "print"}

// of returns the key, and the values file that sets it, if the action refers
// to exactly one value, does no more than to change its form, and that value,
// or the part of it named below, is what was printed. Otherwise it returns
// nothing.
func (k *keys) of(at place, below []string, printed string) (string, []mizzen.Origin) {
	key, ok := reference(at)
	if !ok {
		return "", nil
	}
	full := slices.Concat(at.template.scope, key, below)
	value, ok := lookUp(k.r.values["Values"], full)
	if !ok || text(value) != printed {
		return "", nil
	}
	return string(keyPath(full)), k.setBy(full, at.template.scope, printed)
}

// keyPath writes a key as people do: global.hub.
func keyPath(names []string) mizzen.Path {
	var p mizzen.Path
	for _, name := range names {
		if i, isIndex := index(name); isIndex {
			p = p.Index(i)
			continue
		}
		p = p.Key(name)
	}
	return p
}

// reference returns the names behind .Values, if the action has one such
// reference and no other that could yield a value.
func reference(at place) ([]string, bool) {
	var chains [][]string
	plain := true
	eachNode(at.action.Pipe, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.FieldNode:
			plain = plain && at.root
			chains = append(chains, n.Ident)
		case *parse.VariableNode:
			plain = plain && n.Ident[0] == "$" && at.inFile()
			chains = append(chains, n.Ident[1:])
		case *parse.IdentifierNode:
			plain = plain && slices.Contains(faithful, n.Ident)
		case *parse.ChainNode, *parse.DotNode:
			plain = false
		}
	})
	if !plain || len(chains) != 1 {
		return nil, false
	}
	return behindValues(chains[0])
}

func behindValues(chain []string) ([]string, bool) {
	if len(chain) < 2 || chain[0] != "Values" {
		return nil, false
	}
	return chain[1:], true
}

// inFile reports whether the action stands outside of any define, where $ is
// the root.
func (p place) inFile() bool {
	inside := false
	tree := p.template.trees[p.template.name]
	if tree == nil || tree.Root == nil {
		return false
	}
	eachNode(tree.Root, func(n parse.Node) { inside = inside || n == parse.Node(p.action) })
	return inside
}

// index reads [3].
func index(name string) (int, bool) {
	inner, isIndex := strings.CutPrefix(name, "[")
	if !isIndex {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimSuffix(inner, "]"))
	return i, err == nil
}

// lookUp returns the value at a path of names.
func lookUp(values any, names []string) (any, bool) {
	for _, name := range names {
		if i, isIndex := index(name); isIndex {
			list, ok := values.([]any)
			if !ok || i >= len(list) {
				return nil, false
			}
			values = list[i]
			continue
		}
		table, ok := asTable(values)
		if !ok {
			return nil, false
		}
		if values, ok = table[name]; !ok {
			return nil, false
		}
	}
	return values, true
}

// text returns a scalar as it is printed; "" for anything else.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e6 {
			return strconv.FormatInt(int64(v), 10)
		}
		return fmt.Sprint(v)
	case int, int64:
		return fmt.Sprint(v)
	}
	return ""
}

// setBy returns the line that sets a key: of the last values file that does,
// else of the values.yaml of the outermost chart. It returns nothing if the
// Application itself sets it, or if the line says something else.
func (k *keys) setBy(full, scope []string, printed string) []mizzen.Origin {
	if _, set := lookUp(k.r.given.inline, full); set {
		return nil
	}
	for _, f := range slices.Backward(k.r.given.files) {
		if at, set := f.find(full); set {
			return at.proven(f.name, printed)
		}
	}
	for depth := range len(scope) + 1 {
		f := k.defaults[strings.Join(scope[:depth], ".")]
		if at, set := f.find(full[depth:]); set {
			return at.proven(f.name, printed)
		}
	}
	return nil
}

// setting is a node that sets a key.
type setting struct{ key, value *yamlv3.Node }

func (s setting) proven(file, printed string) []mizzen.Origin {
	if s.value.Kind != yamlv3.ScalarNode || s.value.Value != printed {
		return nil
	}
	return []mizzen.Origin{{File: file, Line: s.key.Line}}
}

// find returns the node that sets a key in a values file.
func (f valuesFile) find(names []string) (setting, bool) {
	for _, root := range slices.Backward(f.roots) {
		n, key := root, root
		for _, name := range names {
			if i, isIndex := index(name); isIndex {
				n = manifest.Element(n, i)
				key = n
				continue
			}
			key, n = manifest.Entry(n, name)
		}
		if n != nil && len(names) > 0 {
			return setting{key, manifest.Resolve(n)}, true
		}
	}
	return setting{}, false
}

// defaultsOf reads the values.yaml of a template's chart again, for its lines.
func (l *loaded) defaultsOf(t *template) valuesFile {
	for _, f := range t.chart.Raw {
		if f.Name != "values.yaml" || t.source.archived {
			continue
		}
		name := strings.TrimSuffix(t.source.file, l.nameOf(t)) + f.Name
		docs, _, err := manifest.Read(name, f.Data)
		if err != nil {
			return valuesFile{}
		}
		read := valuesFile{name: name}
		for _, d := range docs {
			read.roots = append(read.roots, d.Root)
		}
		return read
	}
	return valuesFile{}
}

// nameOf returns the name of a template's file within its chart.
func (l *loaded) nameOf(t *template) string {
	_, name, _ := strings.Cut(t.name, t.chart.ChartFullPath()+"/")
	return name
}
