package review

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/discover"
)

// Mesh is all that a repository renders for one cluster or environment.
type Mesh struct {
	// Name is that of the cluster or environment; empty if there is but one and
	// nothing names it.
	Name string
	// Objects are sorted by identity, with the origin of every field.
	Objects []mizzen.Object
	// Missing says what could not be rendered, and why, sorted.
	Missing []string
}

// Meshes returns what the Head of a request renders, as a Review sees it, sorted
// by name; its Base is not looked at. What cannot be rendered is missing, and
// said. It fails only if the Snapshot cannot be read, or if ctx is done.
func (r *Reviewer) Meshes(ctx context.Context, request Request) ([]Mesh, error) {
	// The other side is empty, so that this one is rendered with all origins.
	x := &run{
		Reviewer: r, request: request, scanner: discover.NewScanner(),
		before: newSide(request.Head, request.Remotes), after: newSide(request.Head, request.Remotes),
	}
	queue, err := x.declared(ctx, x.before)
	if err != nil {
		return nil, err
	}
	if err := x.expand(ctx, x.before, queue); err != nil {
		return nil, err
	}
	x.before.dropParts()
	if err := x.prepare(ctx); err != nil {
		return nil, err
	}
	missing := map[string][]string{}
	ids := slices.Sorted(maps.Keys(x.before.apps))
	for id, names := range x.places(ids) {
		d := x.before.apps[id]
		if d.err == nil {
			continue
		}
		for _, name := range names {
			missing[name] = append(missing[name], fmt.Sprintf("%s: %v", d.Name, d.err))
		}
	}
	var all []Mesh
	for _, m := range x.meshes() {
		slices.Sort(missing[m.name])
		all = append(all, Mesh{Name: m.name, Objects: m.before, Missing: missing[m.name]})
	}
	return all, nil
}

// declared are the Applications that one revision declares in files, or its
// directories if it declares none.
func (x *run) declared(ctx context.Context, s *side) ([]*deployed, error) {
	if x.request.Directory != "" {
		return s.directories(ctx, x.request.Directory)
	}
	manifests, err := x.scanner.Scan(ctx, s.snapshot, ".")
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(manifests, func(m discover.Manifest) bool { return discover.Deploys(m.Object) }) {
		return s.roots(manifests), nil
	}
	return s.directories(ctx, "")
}
