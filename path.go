package mizzen

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Step is one part of a Path: a field of a map, or an element of a list.
type Step struct {
	// Key is the field; it is empty for an element.
	Key string
	// Index is the element's, or -1 for a field.
	Index int
}

// Steps takes a Path apart. A malformed rest is left out, so that a damaged
// path names less, never something else below it.
func (p Path) Steps() []Step {
	var steps []Step
	s := string(p)
	for s != "" {
		var step Step
		var ok bool
		if s[0] == '[' {
			step, s, ok = bracketStep(s[1:])
		} else {
			step, s = keyStep(strings.TrimPrefix(s, "."))
			ok = step.Key != ""
		}
		if !ok {
			return steps
		}
		steps = append(steps, step)
	}
	return steps
}

func keyStep(s string) (step Step, rest string) {
	end := strings.IndexAny(s, ".[")
	if end < 0 {
		end = len(s)
	}
	return Step{Key: s[:end], Index: -1}, s[end:]
}

func bracketStep(s string) (step Step, rest string, ok bool) {
	if quoted, err := strconv.QuotedPrefix(s); err == nil {
		rest, ok = strings.CutPrefix(s[len(quoted):], "]")
		key, err := strconv.Unquote(quoted)
		return Step{Key: key, Index: -1}, rest, ok && err == nil
	}
	number, rest, ok := strings.Cut(s, "]")
	index, err := strconv.Atoi(number)
	return Step{Index: index}, rest, ok && err == nil && index >= 0
}

// Lookup returns what stands at the path within a JSON value.
func (p Path) Lookup(value any) (found any, ok bool) {
	for _, step := range p.Steps() {
		ok := false
		switch v := value.(type) {
		case map[string]any:
			value, ok = v[step.Key]
			ok = ok && step.Index < 0
		case []any:
			ok = step.Index >= 0 && step.Index < len(v)
			if ok {
				value = v[step.Index]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return value, true
}

// ComparePaths orders paths field by field, list elements by number.
func ComparePaths(a, b Path) int {
	return slices.CompareFunc(a.Steps(), b.Steps(), func(x, y Step) int {
		return cmp.Or(cmp.Compare(x.Index, y.Index), cmp.Compare(x.Key, y.Key))
	})
}
