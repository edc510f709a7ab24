package match

import "slices"

// Bounds of what is tried of one tree of conditions.
const (
	maxSolutions = 128
	maxBranches  = 64
)

// operator is how a formula joins its parts.
type operator int

const (
	leaf operator = iota
	and
	or
	not
	always
)

// formula is a tree of conditions.
type formula struct {
	op        operator
	condition Condition
	subs      []formula
}

// setting gives one part of a call a value, and an assignment all that matter;
// of two for one part, the later wins.
type setting struct {
	part  Part
	name  string
	value Value
}

type assignment []setting

// apply returns a copy of a call with an assignment made.
func (a assignment) apply(c Call) Call {
	c.Request.Headers = slices.Clone(c.Request.Headers)
	for _, s := range a {
		c.set(s.part, s.name, s.value)
	}
	return c
}

// solve returns assignments that make a formula true or false. The first is
// the plainest; each of the others differs from it in one condition, so that
// every condition is once the only one that decides.
func (f formula) solve(want bool) []assignment {
	switch f.op {
	case leaf:
		values := f.condition.False
		if want {
			values = f.condition.True
		}
		var out []assignment
		for _, v := range values {
			out = append(out, assignment{{f.condition.Part, f.condition.Name, v}})
		}
		return out
	case not:
		return f.subs[0].solve(!want)
	case always:
		if want {
			return []assignment{{}}
		}
		return nil
	}
	if (f.op == and) == want {
		return f.together(want)
	}
	return f.onlyOne(want)
}

// together makes all parts what is wanted, and then varies one after the
// other.
func (f formula) together(want bool) []assignment {
	solved := make([][]assignment, 0, len(f.subs))
	for _, sub := range f.subs[:min(len(f.subs), maxBranches)] {
		s := sub.solve(want)
		if len(s) == 0 {
			return nil
		}
		solved = append(solved, s)
	}
	combine := func(at, which int) assignment {
		var out assignment
		for i, s := range solved {
			if i == at {
				out = append(out, s[which]...)
			} else {
				out = append(out, s[0]...)
			}
		}
		return out
	}
	out := []assignment{combine(-1, 0)}
	for i, s := range solved {
		for k := 1; k < len(s) && len(out) < maxSolutions; k++ {
			out = append(out, combine(i, k))
		}
	}
	return out
}

// onlyOne makes one part after the other what is wanted, and the others the
// opposite where that is possible.
func (f formula) onlyOne(want bool) []assignment {
	subs := f.subs[:min(len(f.subs), maxBranches)]
	opposite := make([]assignment, len(subs))
	for i, sub := range subs {
		if s := sub.solve(!want); len(s) > 0 {
			opposite[i] = s[0]
		}
	}
	var out []assignment
	for i, sub := range subs {
		var others assignment
		for k, o := range opposite {
			if k != i {
				others = append(others, o...)
			}
		}
		for _, s := range sub.solve(want) {
			if len(out) < maxSolutions {
				out = append(out, slices.Concat(others, s))
			}
		}
	}
	return out
}

// allOf joins conditions that must all hold.
func allOf(conditions []Condition) formula {
	f := formula{op: and}
	for _, c := range conditions {
		f.subs = append(f.subs, formula{condition: c})
	}
	return f
}
