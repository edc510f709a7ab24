package policy

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy/owners"
)

// unreadable finds a policy file that cannot be read.
func unreadable(f *facts, _ *Policy) []hit {
	if f.in.Unreadable == nil {
		return nil
	}
	return []hit{findingHit("", f.in.Unreadable)}
}

// saysUnreadable tells whether a Finding is what policy-unreadable is about: one
// cause is told once.
func (f *facts) saysUnreadable(found *mizzen.Finding) bool {
	known := f.in.Unreadable
	return known != nil && known.Code == found.Code && known.Message == found.Message && known.Origin.String() == found.Origin.String()
}

// incomplete finds Applications that cannot be planned any more, and a missing
// model of the mesh.
func incomplete(f *facts, _ *Policy) []hit {
	var hits []hit
	for _, item := range f.in.Items {
		if item.Failed != "" {
			hits = append(hits, hit{
				trigger: mizzen.Trigger{Subject: item.Application, Message: item.Failed},
				at:      touched{applications: []string{item.Application}},
			})
		}
	}
	if f.in.EffectsUnknown != "" {
		hits = append(hits, hit{trigger: mizzen.Trigger{Subject: "the mesh", Message: f.in.EffectsUnknown}})
	}
	return hits
}

// notCovered finds what changes where nobody can look: that is no fault of the
// change, and whoever reads it may agree.
func notCovered(f *facts, _ *Policy) []hit {
	var hits []hit
	for _, item := range f.in.Items {
		for i := range item.Findings {
			if found := &item.Findings[i]; found.Code == mizzen.CodeUnseen {
				h := findingHit(item.Application, found)
				h.trigger.Subject = cmp.Or(subjectOf(found.Ref), item.Application)
				// What it is about is in no namespace that anybody knows.
				h.at.namespaces = nil
				hits = append(hits, h)
			}
		}
	}
	return hits
}

func errorFindings(f *facts, _ *Policy) []hit {
	var hits []hit
	for _, item := range f.in.Items {
		for i := range item.Findings {
			if found := &item.Findings[i]; found.Severity == mizzen.Fatal && !f.saysUnreadable(found) {
				hits = append(hits, findingHit(item.Application, found))
			}
		}
	}
	return hits
}

// deleted finds the deletion of objects whose kind is among the patterns. An
// object that is replaced is deleted, too; one that is kept is not.
func deleted(f *facts, patterns []string) []hit {
	var hits []hit
	for _, item := range f.in.Items {
		for i := range item.Changes {
			c := &item.Changes[i]
			if (c.Action == mizzen.Delete || c.Action == mizzen.Replace) && matchesKind(patterns, c.Ref) {
				hits = append(hits, changeHit(item.Application, c, c.Reason))
			}
		}
	}
	return hits
}

// matchesKind matches group/Kind, or the kind alone for the core group.
func matchesKind(patterns []string, r mizzen.Ref) bool {
	kind := r.Kind
	if r.Group != "" {
		kind = r.Group + "/" + r.Kind
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, kind)
		return ok && err == nil
	})
}

func statefulDeleted(f *facts, p *Policy) []hit {
	return deleted(f, append(slices.Clip(statefulKinds), p.stateful...))
}

func networkPolicyDeleted(f *facts, _ *Policy) []hit { return deleted(f, networkPolicyKinds) }

// GuardFiles are the files that say who may change what: the policy file, and
// CODEOWNERS wherever a forge looks for it.
func GuardFiles() []string { return append(owners.Locations(owners.Auto), FileName) }

// guardChanged finds changes of the guard's own files.
func guardChanged(f *facts, _ *Policy) []hit {
	guard := GuardFiles()
	var hits []hit
	for _, file := range f.files {
		if slices.Contains(guard, file) {
			hits = append(hits, hit{
				trigger: mizzen.Trigger{Subject: file},
				places:  []Place{{Origin: mizzen.Origin{File: file}}},
				// The file speaks for the whole repository.
			})
		}
	}
	return hits
}

// othersAffected finds effects of some weight on things whose owners own none
// of the files that change.
func othersAffected(f *facts, _ *Policy) []hit {
	authors := map[string]bool{}
	for _, file := range f.files {
		for _, g := range f.groupsOf(file) {
			for _, owner := range g.Owners {
				authors[strings.ToLower(owner)] = true
			}
		}
	}
	if len(f.files) == 0 || f.in.Owners == nil {
		return nil
	}
	isOthers := func(p Place) bool {
		of := f.ownersOf([]Place{p})
		return len(of) > 0 && !slices.ContainsFunc(of, func(o string) bool { return authors[strings.ToLower(o)] })
	}
	var hits []hit
	for i := range f.in.Effects {
		e := &f.in.Effects[i]
		if e.Impact != mizzen.ImpactWarning && e.Impact != mizzen.ImpactDanger {
			continue
		}
		h := f.effectHit(e, true)
		h.places = slices.DeleteFunc(h.places, func(p Place) bool { return !isOthers(p) })
		if len(h.places) > 0 {
			hits = append(hits, h)
		}
	}
	return hits
}
