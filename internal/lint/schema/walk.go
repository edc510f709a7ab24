package schema

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"mizzen.dev/mizzen"
)

// value judges v, which stands at w.path, by n.
func (w *walker) value(n *node, v any) {
	if w.full() {
		return
	}
	if v == nil {
		w.null(n)
		return
	}
	is := typeOf(v)
	if n.types != 0 && n.types&is == 0 {
		w.wrongType(n, is)
		return
	}
	switch v := v.(type) {
	case map[string]any:
		w.object(n, v)
	case []any:
		w.list(n, v)
	default:
		w.scalar(n, v)
	}
	if n.limits != nil && !w.status {
		w.limits(n, v)
	}
}

// null judges a null. Go reads it as the zero value; the schema of a custom
// resource refuses it unless it says otherwise.
func (w *walker) null(n *node) {
	if n.nullable || n.types == 0 || len(w.path) == 0 {
		return
	}
	element := w.path[len(w.path)-1].index != notAnIndex
	if !w.builtIn || element && w.above[len(w.above)-1].associative {
		w.report(mizzen.CodeWrongType, func(at mizzen.Path) (string, string) {
			return string(at) + " must be " + n.types.String() + ", not null", "remove it, or give it a value"
		})
		return
	}
	w.warn(mizzen.CodeWrongType, func(at mizzen.Path) (string, string) {
		return string(at) + " is null, which the API server reads as empty", "remove it, or give it a value"
	})
}

func (w *walker) wrongType(n *node, is jsonType) {
	w.report(mizzen.CodeWrongType, func(at mizzen.Path) (string, string) {
		if is == integer|number {
			is = number
		}
		message := string(at) + " must be " + n.types.String() + ", not " + is.String()
		switch {
		case n.types&text != 0 && is&(number|boolean) != 0:
			return message, "put the value in quotes"
		case n.types&(integer|number|boolean) != 0 && is == text:
			return message, "write the value without quotes"
		}
		return message, ""
	})
}

func (w *walker) list(n *node, v []any) {
	if n.items == nil {
		return
	}
	w.above = append(w.above, n)
	for i, item := range v {
		w.atIndex(i)
		w.value(n.items, item)
		w.back()
	}
	w.above = w.above[:len(w.above)-1]
}

func (w *walker) object(n *node, v map[string]any) {
	if n.metadata {
		// Metadata is a Go type in custom resources, too.
		before := w.builtIn
		w.builtIn = true
		defer func() { w.builtIn = before }()
		w.metadata(v)
	}
	w.above = append(w.above, n)
	if w.ordered {
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.field(n, key, v[key])
		}
	} else {
		for key, item := range v {
			w.field(n, key, item)
		}
	}
	w.above = w.above[:len(w.above)-1]
	if !w.status {
		w.missing(n, v)
	}
}

func (w *walker) field(n *node, key string, item any) {
	if w.full() {
		return
	}
	w.at(key)
	defer w.back()
	child, known := n.fields[key]
	switch {
	case known && item == nil && (w.builtIn || child.defaulted):
		// As if the field were not there.
	case known:
		above := w.status
		w.status = above || len(w.path) == 1 && key == "status"
		w.value(child, item)
		w.status = above
	case n.values != nil:
		w.value(n.values, item)
	case !n.free:
		w.unknown(n, key)
	}
}

func (w *walker) unknown(n *node, key string) {
	w.report(mizzen.CodeUnknownField, func(at mizzen.Path) (string, string) {
		message := string(at) + " is not a field of this kind"
		if len(n.fields) == 0 {
			return message, "remove it: " + name(w.here(1)) + " has no fields"
		}
		if like := closest(key, maps.Keys(n.fields)); like != "" {
			return message + "; did you mean " + like + "?", "write " + like
		}
		// Most often a line is indented too little or too far.
		for up := 2; up <= len(w.above); up++ {
			if _, ok := w.above[len(w.above)-up].fields[key]; ok {
				owner := name(w.here(up))
				return message + "; " + key + " belongs to " + owner, "move it to " + owner
			}
		}
		return message, "remove it; " + name(w.here(1)) + " has the fields " + enumerate(slices.Sorted(maps.Keys(n.fields)), 12)
	})
}

// name names a place for a person.
func name(p mizzen.Path) string {
	if p == "" {
		return "the top level"
	}
	return string(p)
}

// enumerate returns "a, b, c", and "…" in place of what exceeds most.
func enumerate(words []string, most int) string {
	if len(words) > most {
		words = append(slices.Clone(words[:most]), "…")
	}
	return strings.Join(words, ", ")
}

func (w *walker) missing(n *node, v map[string]any) {
	for _, key := range n.required {
		field := n.fields[key]
		item, ok := v[key]
		if ok && !w.builtIn || w.builtIn && item != nil && item != "" {
			continue // a null of a custom resource is judged by its own schema
		}
		if field != nil && field.defaulted {
			continue
		}
		w.at(key)
		w.report(mizzen.CodeMissingField, func(at mizzen.Path) (string, string) {
			return string(at) + " is required", ""
		})
		w.back()
	}
}

// quoted returns a value for a message, or "" if it may be a secret.
func (w *walker) quoted(v any) string {
	if w.quiet {
		return ""
	}
	switch v := v.(type) {
	case string:
		const most = 60
		if len(v) > most {
			v = strings.ToValidUTF8(v[:most], "") + "…"
		}
		return strconv.Quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
