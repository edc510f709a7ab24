package policy

import (
	"cmp"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy/owners"
)

// approvals collects who must agree: each group of owners once, for all that it
// owns.
type approvals struct {
	facts *facts
	byKey map[string]*approval
	// orphans are what nobody owns.
	orphans map[string]bool
}

type approval struct {
	mizzen.Approval
	subjects map[string]bool
}

// ask adds the owners of hits, if the level asks for approval.
func (a *approvals) ask(level mizzen.Level, hits []hit) {
	if level != mizzen.LevelApproval {
		return
	}
	for _, h := range hits {
		owned := false
		for _, p := range h.places {
			owned = a.askFor(p, h.trigger.Subject) || owned
		}
		if !owned {
			a.orphan(h.trigger.Subject)
		}
	}
}

// askFor adds the groups that own a place; those that are optional count only
// if there are no others. It tells whether there is any.
func (a *approvals) askFor(p Place, subject string) bool {
	file := nearest(p.Origin)
	groups := a.facts.groupsOf(file)
	required := slices.DeleteFunc(slices.Clone(groups), func(g owners.Group) bool { return g.Optional })
	if len(required) == 0 {
		required = groups
	}
	for _, g := range required {
		a.add(g, cmp.Or(file, subject))
	}
	return len(required) > 0
}

func (a *approvals) add(g owners.Group, subject string) {
	names := slices.Sorted(slices.Values(g.Owners))
	key := g.Section + "\x00" + strings.Join(names, " ")
	one := a.byKey[key]
	if one == nil {
		one = &approval{Approval: mizzen.Approval{Owners: names, Section: g.Section}, subjects: map[string]bool{}}
		if a.byKey == nil {
			a.byKey = map[string]*approval{}
		}
		a.byKey[key] = one
	}
	one.Count = max(one.Count, g.Required)
	one.subjects[subject] = true
}

func (a *approvals) orphan(subject string) {
	if a.orphans == nil {
		a.orphans = map[string]bool{}
	}
	a.orphans[subject] = true
}

// list returns the approvals, sorted. Anybody may agree to what nobody owns;
// that is not asked for besides the agreement of owners, which includes it.
func (a *approvals) list() []mizzen.Approval {
	out := make([]mizzen.Approval, 0, len(a.byKey))
	for _, one := range a.byKey {
		one.For = few(one.subjects)
		out = append(out, one.Approval)
	}
	slices.SortFunc(out, func(x, y mizzen.Approval) int {
		return cmp.Or(cmp.Compare(x.Section, y.Section), slices.Compare(x.Owners, y.Owners))
	})
	if len(out) == 0 && len(a.orphans) > 0 {
		return []mizzen.Approval{{Count: 1, For: few(a.orphans)}}
	}
	return out
}

// few returns the first of a set, sorted.
func few(set map[string]bool) []string {
	var list []string
	for s := range set {
		if s != "" {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	return list[:min(len(list), mizzen.MaxTriggers)]
}
