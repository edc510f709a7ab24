package schema

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"mizzen.dev/mizzen"
)

// invalid reports a value that the schema forbids: "PATH VALUE what".
func (w *walker) invalid(v any, format string, args ...any) {
	w.report(mizzen.CodeInvalidValue, func(at mizzen.Path) (string, string) {
		subject := string(at)
		if q := w.quoted(v); q != "" {
			subject += " " + q
		}
		return subject + " " + fmt.Sprintf(format, args...), ""
	})
}

func (w *walker) limits(n *node, v any) {
	l := n.limits
	if l.enum != nil && (!w.builtIn || v != "") {
		w.enum(l, v)
	}
	switch v := v.(type) {
	case string:
		w.length(l, v)
	case []any:
		w.count(int64(len(v)), l.minItems, l.maxItems, "items")
	case map[string]any:
		w.count(int64(len(v)), l.minProperties, l.maxProperties, "fields")
	case int64:
		w.bounds(l, v, float64(v))
	case float64:
		w.bounds(l, v, v)
	}
	w.alternatives(l, v)
}

func (w *walker) enum(l *limits, v any) {
	if slices.ContainsFunc(l.enum, func(allowed any) bool { return sameJSON(allowed, v) }) {
		return
	}
	w.report(mizzen.CodeInvalidValue, func(at mizzen.Path) (string, string) {
		var words []string
		for _, allowed := range l.enum {
			if allowed != "" {
				words = append(words, fmt.Sprint(allowed))
			}
		}
		message := string(at)
		if q := w.quoted(v); q != "" {
			message += " " + q
		}
		message += " must be one of " + enumerate(words, 20)
		if s, ok := v.(string); ok {
			if like := closest(s, slices.Values(words)); like != "" {
				return message + "; did you mean " + like + "?", "write " + like
			}
		}
		return message, ""
	})
}

// sameJSON compares a decoded enum value, whose numbers are floats, with one
// of an object.
func sameJSON(a, b any) bool {
	if i, ok := b.(int64); ok {
		b = float64(i)
	}
	return reflect.DeepEqual(a, b)
}

func (w *walker) length(l *limits, v string) {
	if l.minLength != nil || l.maxLength != nil {
		w.count(int64(utf8.RuneCountInString(v)), l.minLength, l.maxLength, "characters")
	}
	if l.pattern != nil && !l.pattern.MatchString(v) {
		w.invalid(v, "must match %s", l.pattern)
	}
}

func (w *walker) count(n int64, least, most *int64, what string) {
	if least != nil && n < *least {
		w.invalid(nil, "must have at least %d %s, not %d", *least, what, n)
	}
	if most != nil && n > *most {
		w.invalid(nil, "must have at most %d %s, not %d", *most, what, n)
	}
}

func (w *walker) bounds(l *limits, v any, f float64) {
	if l.minimum != nil && (f < *l.minimum || l.exclusiveMin && f == *l.minimum) {
		w.invalid(v, "must be %s %v", either(l.exclusiveMin, "more than", "at least"), *l.minimum)
	}
	if l.maximum != nil && (f > *l.maximum || l.exclusiveMax && f == *l.maximum) {
		w.invalid(v, "must be %s %v", either(l.exclusiveMax, "less than", "at most"), *l.maximum)
	}
	if l.multipleOf != nil && math.Mod(f, *l.multipleOf) != 0 {
		w.invalid(v, "must be a multiple of %v", *l.multipleOf)
	}
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func (w *walker) alternatives(l *limits, v any) {
	for _, n := range l.allOf {
		// What all must hold is said in full, as if it stood in the schema.
		w.value(n, v)
	}
	if len(l.anyOf) > 0 && !slices.ContainsFunc(l.anyOf, func(n *node) bool { return w.accepts(n, v) }) {
		w.noneOf(l.anyOf, "at least one of")
	}
	if len(l.oneOf) > 0 {
		matching := 0
		for _, n := range l.oneOf {
			if w.accepts(n, v) {
				matching++
			}
		}
		if matching != 1 {
			w.noneOf(l.oneOf, "exactly one of")
		}
	}
	if l.not != nil && w.accepts(l.not, v) {
		w.invalid(nil, "has a combination of fields that is not allowed")
	}
}

// noneOf says which fields to choose from, if that is what alternatives are
// about.
func (w *walker) noneOf(alternatives []*node, how string) {
	var choices []string
	for _, n := range alternatives {
		if len(n.required) > 0 {
			choices = append(choices, strings.Join(n.required, " and "))
		}
	}
	if len(choices) == 0 {
		w.invalid(nil, "matches none of the alternatives that the schema allows, or more than one")
		return
	}
	if len(choices) < len(alternatives) && how == "exactly one of" {
		how = "at most one of"
	}
	w.invalid(nil, "must have %s %s", how, enumerate(choices, 12))
}

// accepts tells whether v is valid by n, which is one of several.
func (w *walker) accepts(n *node, v any) bool {
	alone := &walker{builtIn: w.builtIn, trying: true, limit: 1}
	alone.value(n, v)
	return len(alone.problems) == 0
}
