package review

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint"
	lintmesh "mizzen.dev/mizzen/internal/lint/mesh"
)

// mesh is what the repository renders for one cluster.
type mesh struct {
	name          string
	before, after []mizzen.Object
	changed       bool
}

// judge has each mesh that changes looked at as a whole.
func (x *run) judge(ctx context.Context) error {
	meshes := x.meshes()
	if err := x.complete(meshes); err != nil {
		return err
	}
	for _, m := range meshes {
		if !m.changed {
			continue
		}
		where := ""
		if len(meshes) > 1 {
			where = m.name
		}
		if err := x.judgeMesh(ctx, m, where); err != nil {
			return err
		}
	}
	return nil
}

// judgeMesh looks at effects and for mistakes side by side: one waits for the
// traffic worker while the other computes.
func (x *run) judgeMesh(ctx context.Context, m *mesh, where string) error {
	var effects []mizzen.Effect
	var errs [2]error
	var broken any
	var beside sync.WaitGroup
	beside.Go(func() {
		defer func() { broken = recover() }()
		effects, errs[0] = x.effects(ctx, m, where)
	})
	mistakes, err := x.analyze(ctx, m)
	errs[1] = err
	releases := x.releases(m, where)
	beside.Wait()
	if broken != nil {
		panic(broken) // in the goroutine of the caller, who may know how to go on
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errs[0] != nil {
		x.review.EffectsUnknown = errs[0].Error()
		errs[0] = fmt.Errorf("the effects on traffic are not known: %w", errs[0])
	}
	x.review.Effects = append(x.review.Effects, effects...)
	for _, err := range errs {
		if err != nil {
			x.review.Findings = append(x.review.Findings, notJudged(where, err))
		}
	}
	x.review.Findings = append(x.review.Findings, news(x.review.Findings, mistakes)...)
	x.review.Findings = append(x.review.Findings, releases...)
	return nil
}

// notJudged is the Finding of a stage that failed: silence would read as "no
// effect".
func notJudged(where string, err error) mizzen.Finding {
	f := mizzen.Finding{Code: mizzen.CodeNotJudged, Severity: mizzen.Warning, Message: err.Error()}
	if where != "" {
		f.Message = fmt.Sprintf("cluster %s: %s", where, f.Message)
	}
	var e *mizzen.Error
	if errors.As(err, &e) {
		f.Remedy, f.Origin = e.Remedy, e.Origin
	}
	return f
}

func (x *run) effects(ctx context.Context, m *mesh, where string) ([]mizzen.Effect, error) {
	if x.Traffic == nil {
		return nil, nil
	}
	found, err := x.Traffic.Effects(ctx, m.before, m.after)
	for i := range found {
		found[i].Cluster = where
	}
	return found, err
}

// analyze returns what is wrong with the change and was not before.
func (x *run) analyze(ctx context.Context, m *mesh) ([]mizzen.Finding, error) {
	known, err := x.found(ctx, m.before)
	if err != nil {
		return nil, fmt.Errorf("the base is not analyzed: %w", err)
	}
	found, err := x.found(ctx, m.after)
	if err != nil {
		return nil, fmt.Errorf("the change is not analyzed: %w", err)
	}
	return news(known, found), nil
}

// found is what is wrong with all objects of a cluster together.
func (x *run) found(ctx context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	findings, err := lintmesh.Check(ctx, objects, lintmesh.Known{Complete: true})
	if err == nil && x.Analyzer != nil {
		var more []mizzen.Finding
		more, err = x.Analyzer.Analyze(ctx, objects)
		findings = append(findings, more...)
	}
	shown, _ := lint.Suppress(findings, objects)
	return shown, err
}

// meshes sorts the Applications by the cluster that they go to.
func (x *run) meshes() []*mesh {
	ids := map[string]bool{}
	for _, s := range []*side{x.before, x.after} {
		for id := range s.apps {
			ids[id] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(ids))
	places := x.places(sorted)
	all := map[string]*mesh{}
	for _, id := range sorted {
		for _, name := range places[id] {
			if all[name] == nil {
				all[name] = &mesh{name: name}
			}
			all[name].add(x.Reviewer, x.before.apps[id], x.after.apps[id])
		}
	}
	var meshes []*mesh
	for _, name := range slices.Sorted(maps.Keys(all)) {
		mizzen.SortObjects(all[name].before)
		mizzen.SortObjects(all[name].after)
		meshes = append(meshes, all[name])
	}
	return meshes
}

// places names the meshes that each Application belongs to. Directories that
// nothing declares do not say where they go: those that render an object of one
// name, as overlays for several environments do, go to different ones, and what
// is rendered once goes to all of them.
func (x *run) places(ids []string) map[string][]string {
	makers := map[mizzen.Ref][]string{}
	places := map[string][]string{}
	for _, id := range ids {
		d := x.either(id)
		if d.Kind() != "" {
			places[id] = []string{d.Mesh()}
			continue
		}
		for ref := range x.refs(id) {
			makers[ref] = append(makers[ref], id)
		}
	}
	environments := newEnvironments(makers)
	var everywhere []string
	for _, id := range ids {
		if _, placed := places[id]; placed {
			continue
		}
		if refs := x.refs(id); environments.collides(refs) {
			places[id] = []string{environments.place(x.either(id).Path(), refs)}
		} else {
			everywhere = append(everywhere, id)
		}
	}
	for _, id := range everywhere {
		places[id] = environments.names()
	}
	return places
}

// either is the Application at the head, or at the base if only that has it.
func (x *run) either(id string) *deployed {
	if d := x.after.apps[id]; d != nil && d.err == nil || x.before.apps[id] == nil {
		return d
	}
	return x.before.apps[id]
}

// refs are the objects of an Application at either side.
func (x *run) refs(id string) map[mizzen.Ref]bool {
	refs := map[mizzen.Ref]bool{}
	for _, s := range []*side{x.before, x.after} {
		if d := s.apps[id]; d != nil {
			for _, o := range d.objects {
				refs[o.Ref()] = true
			}
		}
	}
	return refs
}

// environments are meshes that are told apart by the names of directories.
type environments struct {
	makers map[mizzen.Ref][]string
	taken  map[string]map[mizzen.Ref]bool
}

func newEnvironments(makers map[mizzen.Ref][]string) *environments {
	return &environments{makers: makers, taken: map[string]map[mizzen.Ref]bool{}}
}

// collides tells whether another directory renders an object of the same name.
func (e *environments) collides(refs map[mizzen.Ref]bool) bool {
	for ref := range refs {
		if len(e.makers[ref]) > 1 {
			return true
		}
	}
	return false
}

// place returns the environment of a directory: its last name, as in
// overlays/prod, or all of its path if that is taken.
func (e *environments) place(directory string, refs map[mizzen.Ref]bool) string {
	name := path.Base(directory)
	for ref := range refs {
		if e.taken[name][ref] {
			name = directory
			break
		}
	}
	if e.taken[name] == nil {
		e.taken[name] = map[mizzen.Ref]bool{}
	}
	maps.Copy(e.taken[name], refs)
	return name
}

func (e *environments) names() []string {
	if len(e.taken) == 0 {
		return []string{""}
	}
	return slices.Sorted(maps.Keys(e.taken))
}

// add adds the objects of an Application. One that cannot be rendered at one
// revision counts there as it is at the other: what is not known is no effect.
// What is kept although it left Git is still there afterwards.
func (m *mesh) add(r *Reviewer, before, after *deployed) {
	b, a := before, after
	if b != nil && b.err != nil {
		b = a
	}
	if a != nil && a.err != nil {
		a = b
	}
	m.before = append(m.before, b.all()...)
	m.after = append(m.after, a.all()...)
	if a == b || b != nil && b.same() {
		return
	}
	m.changed = true
	if b == nil {
		return
	}
	left, _ := r.changes(b, a)
	for _, c := range left {
		if c.Action == mizzen.Keep {
			m.after = append(m.after, kept(b, c.Ref))
		}
	}
}

// all are the objects of an Application; none of one that is not there.
func (d *deployed) all() []mizzen.Object {
	if d == nil {
		return nil
	}
	return d.objects
}

func kept(d *deployed, ref mizzen.Ref) mizzen.Object {
	for _, o := range d.objects {
		if o.Ref() == ref {
			return o
		}
	}
	return mizzen.Object{}
}
