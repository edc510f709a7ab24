package effect

import (
	"reflect"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// changes are the objects that differ between the two sides, with the fields.
type changes struct {
	before, after map[mizzen.Ref]mizzen.Object
	// fields are the paths that differ, in order; an object that is on one side
	// only has the empty path.
	fields map[mizzen.Ref][]mizzen.Path
	refs   []mizzen.Ref
}

func compareObjects(before, after []mizzen.Object) *changes {
	c := &changes{before: byRef(before), after: byRef(after), fields: map[mizzen.Ref][]mizzen.Path{}}
	for ref, b := range c.before {
		a, there := c.after[ref]
		if !there {
			c.fields[ref] = []mizzen.Path{""}
		} else if paths := differing(b.Object, a.Object, "", nil); len(paths) > 0 {
			c.fields[ref] = paths
		}
	}
	for ref := range c.after {
		if _, there := c.before[ref]; !there {
			c.fields[ref] = []mizzen.Path{""}
		}
	}
	for ref := range c.fields {
		c.refs = append(c.refs, ref)
	}
	slices.SortFunc(c.refs, mizzen.CompareRefs)
	return c
}

func byRef(objects []mizzen.Object) map[mizzen.Ref]mizzen.Object {
	m := make(map[mizzen.Ref]mizzen.Object, len(objects))
	for _, o := range objects {
		if o.Unstructured != nil {
			m[o.Ref()] = o
		}
	}
	return m
}

// differing appends the paths at which two decoded JSON values differ.
func differing(b, a any, at mizzen.Path, to []mizzen.Path) []mizzen.Path {
	switch b := b.(type) {
	case map[string]any:
		if a, ok := a.(map[string]any); ok {
			for _, k := range union(b, a) {
				_, inB := b[k]
				_, inA := a[k]
				if inB != inA {
					to = append(to, at.Key(k))
					continue
				}
				to = differing(b[k], a[k], at.Key(k), to)
			}
			return to
		}
	case []any:
		if a, ok := a.([]any); ok {
			for i := range max(len(b), len(a)) {
				if i >= len(b) || i >= len(a) {
					to = append(to, at.Index(i))
					continue
				}
				to = differing(b[i], a[i], at.Index(i), to)
			}
			return to
		}
	}
	if !reflect.DeepEqual(b, a) {
		to = append(to, at)
	}
	return to
}

// changed tells whether an object differs.
func (c *changes) changed(ref mizzen.Ref) bool { return len(c.fields[ref]) > 0 }

// ofKind returns the objects of a kind that differ, in any of the namespaces;
// with none given, in all.
func (c *changes) ofKind(kind string, namespaces ...string) []mizzen.Ref {
	var out []mizzen.Ref
	for _, ref := range c.refs {
		if ref.Kind == kind && (len(namespaces) == 0 || slices.Contains(namespaces, ref.Namespace)) {
			out = append(out, ref)
		}
	}
	return out
}

// ofKinds returns the changed objects of several kinds, kind by kind.
func (c *changes) ofKinds(kinds ...string) []mizzen.Ref {
	var out []mizzen.Ref
	for _, kind := range kinds {
		out = append(out, c.ofKind(kind)...)
	}
	return out
}

// written tells whether an object was given, rather than made by istiod.
func (c *comparison) written(ref mizzen.Ref) bool {
	_, b := c.before.Origins[ref]
	_, a := c.after.Origins[ref]
	return a || b
}

// cause names a Ref and the line within it.
type cause struct {
	ref    mizzen.Ref
	origin mizzen.Origin
}

// hints say which field of an object an effect is about: a word of the path,
// such as "timeout", the best first.
type hints []string

// cause returns the place within an object that best explains an effect: a
// field that differs, below the rule and named by a hint if there is one.
func (c *comparison) cause(rule traffic.Rule, h hints) cause {
	path, found := c.changes.pick(rule, h)
	if !found {
		path = c.named(rule, h)
	}
	return cause{ref: rule.Ref, origin: c.origin(rule.Ref, path)}
}

// pick chooses among the fields that differ.
func (c *changes) pick(rule traffic.Rule, h hints) (mizzen.Path, bool) {
	fields := c.fields[rule.Ref]
	within := slices.DeleteFunc(slices.Clone(fields), func(p mizzen.Path) bool { return !below(p, rule.Route()) })
	for _, set := range [][]mizzen.Path{within, fields} {
		for _, word := range h {
			for _, p := range set {
				if strings.Contains(string(p), word) {
					return p, true
				}
			}
		}
	}
	for _, set := range [][]mizzen.Path{within, fields} {
		for _, p := range set {
			if strings.HasPrefix(string(p), "spec") || p == "" {
				return p, true
			}
		}
	}
	return "", false
}

// named returns the field of an unchanged rule that a hint names.
func (c *comparison) named(rule traffic.Rule, h hints) mizzen.Path {
	fields := c.after.Origins[rule.Ref].Fields
	for _, word := range h {
		p := rule.Route().Key(word)
		if _, ok := fields[p]; ok {
			return p
		}
	}
	return rule.Path
}

// below tells whether p is path, or within it.
func below(p, path mizzen.Path) bool {
	rest, ok := strings.CutPrefix(string(p), string(path))
	return ok && (rest == "" || path == "" || rest[0] == '.' || rest[0] == '[')
}

// origin returns where a field was written, on the side that has it. A field
// without a line of its own is found by its first child, then by its parents.
func (c *comparison) origin(ref mizzen.Ref, path mizzen.Path) mizzen.Origin {
	for p := path; p != ""; p = p.Parent() {
		for _, s := range []*side{c.after, c.before} {
			if o := lineOf(s.Origins[ref], p); o.Line > 0 {
				return o
			}
		}
	}
	for _, s := range []*side{c.after, c.before} {
		if o, ok := s.Origins[ref]; ok {
			return o.Object
		}
	}
	return mizzen.Origin{}
}

// lineOf returns the place of a field, or the first place within it.
func lineOf(o mizzen.Origins, path mizzen.Path) mizzen.Origin {
	if found, ok := o.Fields[path]; ok {
		return found
	}
	var first mizzen.Origin
	for p, found := range o.Fields {
		if below(p, path) && found.Line > 0 && (first.Line == 0 || found.Line < first.Line) {
			first = found
		}
	}
	return first
}

// firstChanged returns the first of the rules whose object differs, else the
// first rule.
func (c *comparison) firstChanged(rules ...traffic.Rule) (traffic.Rule, bool) {
	var first traffic.Rule
	for _, r := range rules {
		if r.Ref.Kind == "" {
			continue
		}
		if c.changes.changed(r.Ref) {
			return r, true
		}
		if first.Ref.Kind == "" {
			first = r
		}
	}
	return first, first.Ref.Kind != ""
}

// oneOf returns the cause among several objects: one of the namespace before
// the others, no cause for none.
func (c *comparison) oneOf(refs []mizzen.Ref, namespace string, h hints) cause {
	if len(refs) == 0 {
		return cause{}
	}
	best := refs[0]
	for _, ref := range refs {
		if ref.Namespace == namespace {
			best = ref
			break
		}
	}
	return c.cause(traffic.Rule{Ref: best}, h)
}
