package analyze

import (
	"errors"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/pkg/config"

	"mizzen.dev/mizzen"
)

// maxTrials bounds how often an object is validated again to find the field
// that is at fault.
const maxTrials = 400

// blame finds the field that a validation error is about. Istio's validation
// names values, seldom fields: so parts of the object are taken away, from the
// top down, and the deepest part without which the error is gone is at fault.
// It is "spec" if something is missing.
func (c *catalog) blame(m claim) mizzen.Path {
	t := &trial{about: m.about, message: m.param(0), left: maxTrials, ctx: c}
	spec, ok := m.about.object.Object["spec"].(map[string]any)
	if !ok {
		return ""
	}
	t.spec = runtime.DeepCopyJSON(spec)
	t.before = t.count()
	if t.before == 0 {
		return "spec"
	}
	return t.descend(t.spec, "spec", func(any) {})
}

type trial struct {
	ctx     *catalog
	about   *instance
	spec    map[string]any
	message string
	// before is how often the object as it is has the error.
	before int
	left   int
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
	if t.left == 0 || t.ctx.Canceled() {
		return false
	}
	t.left--
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
		if e.Error() == t.message {
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
