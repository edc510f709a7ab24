package review

import (
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/policy"
)

// unseenIn tells of what changes below an Application that could not be rendered
// before and cannot now. Without a word the change would read as one that does
// nothing. Where nothing changes below it, it is as unknown as it was, and no news.
func (x *run) unseenIn(ctx context.Context, item *mizzen.ReviewItem, before, after *deployed) error {
	if item.Failed == "" || item.Failed != item.FailedBefore {
		return nil
	}
	changed, err := x.files(ctx)
	if err != nil {
		return err
	}
	files, more := x.changedBelow(changed, x.readings(before, after))
	if len(files) == 0 && !more && reflect.DeepEqual(declaration(before), declaration(after)) {
		return nil
	}
	item.Findings = append(item.Findings, unseen(
		mizzen.Finding{Ref: after.Ref, Origin: after.Origin, Remedy: "mend what keeps it from being rendered, in this change or before it"},
		item.Application, files, "it cannot be rendered, as before: "+item.Failed))
	return nil
}

// changedBelow are the changed files that somebody may read, sorted; more tells
// that there are others, since of many files the last are not named.
func (x *run) changedBelow(changed *changedFiles, readings []reading) (files []string, more bool) {
	declares := slices.ContainsFunc(readings, func(r reading) bool { return r.declares })
	for _, file := range changed.names {
		if slices.ContainsFunc(readings, func(r reading) bool { return r.has(file) }) ||
			declares && x.mayBeIn(discover.Anywhere(), file) { // what it would declare may be anywhere
			files = append(files, file)
		}
	}
	return files, changed.omitted && slices.ContainsFunc(readings, func(r reading) bool { return slices.ContainsFunc(r.Names(), x.differsAt) })
}

// reading is what a part of an Application may read at one side.
type reading struct {
	*discover.Reading
	has func(file string) bool
	// declares: it may declare other Applications.
	declares bool
}

// readings are those of both sides of an Application that cannot be rendered.
func (x *run) readings(before, after *deployed) []reading {
	var all []reading
	for _, end := range []struct {
		*side
		*deployed
	}{{x.before, before}, {x.after, after}} {
		for _, p := range end.Parts {
			r := p.Reads(end.snapshot)
			all = append(all, reading{
				r, func(file string) bool { return r.Has(file) && end.Select.Selects(p.Options.Path, file) },
				discover.MayDeclare(end.snapshot, r.Names()),
			})
		}
	}
	return all
}

// declaration is what an Application asks for, wherever that is written.
func declaration(d *deployed) discover.Application {
	a := *d.Application
	a.Origin, a.Notes = mizzen.Origin{}, nil
	return a
}

// differsAt tells whether a file or directory is another one, or gone.
func (x *run) differsAt(name string) bool {
	was, wasErr := x.before.snapshot.ID(name)
	is, isErr := x.after.snapshot.ID(name)
	return was != is || (wasErr == nil) != (isErr == nil)
}

// beside tells of what changes below what is not covered, or of how that is
// declared.
func (x *run) beside(ctx context.Context) error {
	all, refs := x.uncovered()
	for _, ref := range refs {
		u := all[ref]
		if !u.another() && !slices.ContainsFunc(u.both(), func(o *discover.Omitted) bool { return !o.Area.Empty() }) {
			continue // as are hundreds of charts from elsewhere
		}
		files, err := x.changedIn(ctx, func(file string) bool {
			return slices.ContainsFunc(u.both(), func(o *discover.Omitted) bool { return x.mayBeIn(o.Area, file) })
		})
		if err != nil {
			return err
		}
		if known := u.both()[0]; len(files) > 0 || u.another() {
			x.find(unseen(
				mizzen.Finding{Ref: ref, Origin: known.Origin, Remedy: remedyOf(known, files)},
				strings.TrimPrefix(ref.Namespace+"/"+ref.Name, "/"), files, known.Message))
		}
	}
	return nil
}

// changedIn are the files that differ and that are in some part of the repository.
func (x *run) changedIn(ctx context.Context, in func(file string) bool) ([]string, error) {
	changed, err := x.files(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(changed.names), func(file string) bool { return !in(file) }), nil
}

// uncovered is what is not covered under one name, at both sides.
type uncovered struct{ before, after []*discover.Omitted }

func (x *run) uncovered() (all map[mizzen.Ref]*uncovered, refs []mizzen.Ref) {
	all = map[mizzen.Ref]*uncovered{}
	of := func(o *discover.Omitted) *uncovered {
		if all[o.Ref] == nil {
			all[o.Ref] = &uncovered{}
			refs = append(refs, o.Ref)
		}
		return all[o.Ref]
	}
	for i := range x.after.omitted {
		u := of(&x.after.omitted[i])
		u.after = append(u.after, &x.after.omitted[i])
	}
	for i := range x.before.omitted {
		u := of(&x.before.omitted[i])
		u.before = append(u.before, &x.before.omitted[i])
	}
	return all, refs
}

// both are those of both sides, those of the head first.
func (u *uncovered) both() []*discover.Omitted { return slices.Concat(u.after, u.before) }

// another tells whether something else is generated, by what is declared. Of what
// is elsewhere the declaration says nothing that could be looked into here.
func (u *uncovered) another() bool {
	specs := func(all []*discover.Omitted) []any {
		var list []any
		for _, o := range all {
			list = append(list, o.Spec)
		}
		return list
	}
	return u.both()[0].Code == mizzen.CodeNotExpanded && !reflect.DeepEqual(specs(u.before), specs(u.after))
}

func remedyOf(o *discover.Omitted, files []string) string {
	switch {
	case o.Code != mizzen.CodeNotExpanded:
		return "look at what it renders in a cluster for tests, or bring its source into this repository"
	case len(files) == 0:
		return "look at what it generates in a cluster for tests, or commit what it generates"
	}
	return fmt.Sprintf("look at it by itself, as by 'mizzen plan --base REVISION %s', or commit what it generates", path.Dir(files[0]))
}

// mayBeIn tells whether a file may be in a part of the repository. Where that may
// be anywhere, what others read or are declared in is not in it, nor the guard.
func (x *run) mayBeIn(a discover.Area, file string) bool {
	if !a.Has(file) || !a.Anywhere() {
		return a.Has(file)
	}
	if x.taken == nil {
		x.taken = []readers{x.before.taken(), x.after.taken()}
	}
	return !slices.Contains(policy.GuardFiles(), file) &&
		!slices.ContainsFunc(x.taken, func(r readers) bool { return len(r.of(file)) > 0 })
}

// taken tells which Applications a file belongs to, also of those that cannot be
// rendered.
func (s *side) taken() readers {
	r := s.readers()
	for _, d := range s.apps {
		r[d.Origin.File] = append(r[d.Origin.File], d)
		if d.err == nil {
			continue
		}
		for _, p := range d.Parts {
			for _, name := range p.Reads(s.of(d)).Names() {
				r[name] = append(r[name], d)
			}
		}
	}
	return r
}

// unseen completes the Finding of something that changes and is not looked into:
// at the first file that does, or where it is declared if that is all.
func unseen(f mizzen.Finding, name string, files []string, why string) mizzen.Finding {
	f.Code, f.Severity = mizzen.CodeUnseen, mizzen.Warning
	what := "the manifest of " + name + " changes"
	if len(files) > 0 {
		f.Origin = mizzen.Origin{File: files[0]}
		what = files[0] + " changes below " + name
	}
	if more := len(files) - 1; more > 0 {
		what = fmt.Sprintf("%s and %d more change below %s", files[0], more, name)
	}
	f.Message = what + ", and what that does is not known: " + why
	return f
}
