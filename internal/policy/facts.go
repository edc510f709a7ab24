package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy/owners"
)

// facts are an Input with what several checks need to know of it.
type facts struct {
	in *Input
	// byCause are the Applications that change an object.
	byCause map[mizzen.Ref][]string
	// groups remembers who owns a file.
	groups map[string][]owners.Group
	// files are what changes, sorted.
	files []string
}

// hit is one thing that a check found.
type hit struct {
	trigger mizzen.Trigger
	// places are what is affected: their owners are asked.
	places []Place
	// at is where the levels are looked up.
	at touched
}

// everybody is what Effect.Callers holds if every workload is affected.
const everybody = "*"

// gather prepares the checks, and fills in the owners of the effects.
func gather(in *Input) *facts {
	f := &facts{in: in, byCause: map[mizzen.Ref][]string{}, groups: map[string][]owners.Group{}}
	files := map[string]bool{}
	for _, file := range in.Files {
		files[file] = true
	}
	for _, item := range in.Items {
		for _, c := range item.Changes {
			if !slices.Contains(f.byCause[c.Ref], item.Application) {
				f.byCause[c.Ref] = append(f.byCause[c.Ref], item.Application)
			}
			if len(in.Files) == 0 && c.Origin.File != "" {
				files[c.Origin.File] = true
			}
		}
	}
	f.files = slices.Sorted(maps.Keys(files))
	for i := range in.Effects {
		in.Effects[i].Owners = f.ownersOf(f.affected(&in.Effects[i]))
	}
	return f
}

// affected are the places of an effect's subject and callers. If neither is
// known, it is the place of the cause.
func (f *facts) affected(e *mizzen.Effect) []Place {
	places := f.where(e.Subject)
	for _, caller := range e.Callers {
		if caller != everybody {
			places = append(places, f.where(caller)...)
		}
	}
	if len(places) == 0 && e.Origin.File != "" {
		places = []Place{{Namespace: e.Cause.Namespace, Origin: e.Origin}}
	}
	return places
}

func (f *facts) where(name string) []Place {
	if f.in.Where == nil {
		return nil
	}
	return slices.Clone(f.in.Where(name))
}

// groupsOf returns the groups that own a file.
func (f *facts) groupsOf(file string) []owners.Group {
	found, ok := f.groups[file]
	if !ok {
		found = f.in.Owners.Owners(file)
		f.groups[file] = found
	}
	return found
}

// ownersOf returns all owners of places, sorted.
func (f *facts) ownersOf(places []Place) []string {
	all := map[string]bool{}
	for _, p := range places {
		for _, g := range f.groupsOf(nearest(p.Origin)) {
			for _, owner := range g.Owners {
				all[owner] = true
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(all))
}

// effectHit is an effect that triggered a rule. The namespaces that count are
// the subject's and the cause's; with callers also those of the callers, since
// it happens to them.
func (f *facts) effectHit(e *mizzen.Effect, callers bool) hit {
	return hit{
		trigger: mizzen.Trigger{Code: string(e.Code), Subject: e.Subject, Message: e.Message, Origin: e.Origin},
		places:  f.affected(e),
		at:      touched{namespaces: f.namespaces(e, callers), applications: f.byCause[e.Cause]},
	}
}

// namespaces is nil if an effect may be everywhere.
func (f *facts) namespaces(e *mizzen.Effect, callers bool) []string {
	found := map[string]bool{}
	add := func(name string) {
		for _, p := range f.where(name) {
			found[p.Namespace] = true
		}
		// A workload that Git does not hold still says its namespace.
		if namespace, rest, ok := strings.Cut(name, "/"); ok && rest != "" && !strings.Contains(namespace, ".") {
			found[namespace] = true
		}
	}
	add(e.Subject)
	if e.Cause.Namespace != "" {
		found[e.Cause.Namespace] = true
	}
	if callers || len(found) == 0 {
		for _, caller := range e.Callers {
			if caller == everybody {
				return nil
			}
			add(caller)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(found))
}

// changeHit is a change that triggered a rule.
func changeHit(app string, c *mizzen.Change, message string) hit {
	return hit{
		trigger: mizzen.Trigger{Code: string(c.Action), Subject: c.Ref.String(), Message: message, Origin: c.Origin},
		places:  []Place{{Namespace: namespaceOf(c.Ref), Origin: c.Origin}},
		at:      touched{namespaces: []string{namespaceOf(c.Ref)}, applications: []string{app}},
	}
}

// namespaceOf is the namespace of an object; a Namespace is in itself.
func namespaceOf(r mizzen.Ref) string {
	if r.Group == "" && r.Kind == "Namespace" {
		return r.Name
	}
	return r.Namespace
}

// findingHit is a finding that triggered a rule.
func findingHit(app string, f *mizzen.Finding) hit {
	h := hit{
		trigger: mizzen.Trigger{Code: string(f.Code), Subject: cmp.Or(subjectOf(f.Ref), f.Origin.File), Message: f.Message, Origin: f.Origin},
		places:  []Place{{Namespace: namespaceOf(f.Ref), Origin: f.Origin}},
		at:      touched{applications: []string{app}},
	}
	if f.Ref.Kind != "" {
		h.at.namespaces = []string{namespaceOf(f.Ref)}
	}
	return h
}

func subjectOf(r mizzen.Ref) string {
	if r.Kind == "" {
		return ""
	}
	return r.String()
}

// reason tells the triggers of a rule, as many as a reader takes in.
func (f *facts) reason(name string, level mizzen.Level, message, remedy string, hits []hit) mizzen.Reason {
	r := mizzen.Reason{Rule: name, Level: level, Message: message, Remedy: remedy}
	var places []Place
	for _, h := range hits {
		places = append(places, h.places...)
		if h.trigger.Subject == "" {
			continue
		}
		if len(r.Triggers) == mizzen.MaxTriggers {
			r.More++
			continue
		}
		r.Triggers = append(r.Triggers, h.trigger)
	}
	r.Owners = f.ownersOf(places)
	return r
}
