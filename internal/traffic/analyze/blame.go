package analyze

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/pkg/config"

	"mizzen.dev/mizzen"
)

// maxTrials bounds how often an object is validated again to find the fields
// that are at fault, for all its errors together; maxLeaves bounds the same
// times the number of its values, since validation takes longer for more.
const (
	maxTrials = 400
	maxLeaves = 100_000
)

// blame finds the field that a validation error is about. Istio's validation
// names values, seldom fields. A value that stands in one place only is that
// place; otherwise parts of the object are taken away, from the top down, and
// the deepest part without which the error is gone is at fault. It is "spec" if
// something is missing.
func (c *catalog) blame(m claim) mizzen.Path {
	p, ok := m.about.blamed[m.param(0)]
	if !ok {
		p = c.search(m)
		if m.about.blamed == nil {
			m.about.blamed = map[string]mizzen.Path{}
		}
		m.about.blamed[m.param(0)] = p
	}
	return p
}

func (c *catalog) search(m claim) mizzen.Path {
	if p := m.about.quotedIn(m.param(0)); p != "" {
		return p
	}
	t := &trial{about: m.about, message: m.param(0), ctx: c}
	spec, ok := m.about.object.Object["spec"].(map[string]any)
	if !ok {
		return ""
	}
	leaves := len(m.about.Origin.FieldMap())
	if m.about.trials = min(m.about.trials, maxLeaves/max(leaves, 1)); m.about.trials < 1 {
		return "spec"
	}
	t.spec = runtime.DeepCopyJSON(spec)
	t.before = t.count()
	if t.before == 0 {
		return "spec"
	}
	return t.descend(t.spec, "spec", func(any) {})
}

// quotes are how validation names values.
var quotes = regexp.MustCompile(`"([^"]+)"`)

// quotedIn returns the only field with a value that a message quotes, or "".
func (i *instance) quotedIn(message string) mizzen.Path {
	if i.values == nil {
		i.values = map[string]mizzen.Path{}
		o := &origin{of: i}
		o.FieldMap()
		for _, p := range o.paths {
			found, _ := p.Lookup(i.object.Object)
			value, ok := found.(string)
			if _, twice := i.values[value]; twice {
				p = ""
			}
			if ok {
				i.values[value] = p
			}
		}
	}
	for _, q := range quotes.FindAllStringSubmatch(message, -1) {
		if p := i.values[q[1]]; strings.HasPrefix(string(p), "spec") {
			return p
		}
	}
	return ""
}

type trial struct {
	ctx     *catalog
	about   *instance
	spec    map[string]any
	message string
	// before is how often the object as it is has the error.
	before int
}

// descend returns the deepest field below value without which there are fewer
// such errors, or p if there is none. set puts another value in its place.
func (t *trial) descend(value any, p mizzen.Path, set func(any)) mizzen.Path {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			child := v[key]
			delete(v, key)
			fewer := t.fewer()
			v[key] = child
			if fewer {
				return t.descend(child, p.Key(key), func(other any) { v[key] = other })
			}
		}
	case []any:
		for i, child := range v {
			set(slices.Delete(slices.Clone(v), i, i+1))
			fewer := t.fewer()
			set(v)
			if fewer {
				return t.descend(child, p.Index(i), func(other any) { v[i] = other })
			}
		}
	}
	return p
}

func (t *trial) fewer() bool {
	if t.about.trials < 1 || t.ctx.Canceled() {
		return false
	}
	t.about.trials--
	return t.count() < t.before
}

// count returns how often validation says the message.
func (t *trial) count() (n int) {
	defer func() {
		if recover() != nil {
			n = t.before // says nothing about the error
		}
	}()
	s := t.about.Metadata.Schema
	spec, err := specOf(s, map[string]any{"spec": t.spec})
	if err != nil {
		return t.before
	}
	warning, err := s.ValidateConfig(config.Config{
		Meta: config.Meta{Name: t.about.object.GetName(), Namespace: t.about.object.GetNamespace()}, Spec: spec,
	})
	for _, e := range slices.Concat(flatten(err), flatten(warning)) {
		if settled(e.Error()) == t.message {
			n++
		}
	}
	return n
}

// flatten returns the single errors of one.
func flatten(err error) []error {
	var many interface{ WrappedErrors() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &many):
		return many.WrappedErrors()
	}
	return []error{err}
}
