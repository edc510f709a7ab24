package review

import (
	"context"
	"fmt"
	"path"
	"slices"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/render"
)

// Bounds of an application of applications.
const (
	maxNesting      = 16
	maxApplications = 20_000
)

// side is one of the two revisions.
type side struct {
	snapshot mizzen.Snapshot
	catalog  *discover.Catalog
	// apps are the Applications by identity.
	apps map[string]*deployed
	// omitted is what is left out; unread are those of it that stand in a file,
	// which may turn out to be a part of something else.
	omitted, unread []discover.Omitted
	// full: there are more Applications than are looked at.
	full bool
}

// deployed is an Application with what it renders.
type deployed struct {
	*discover.Application
	// parent is the Application that renders this one's manifest; nil for one
	// that stands in a file.
	parent *deployed
	// rendered: another one renders the manifest, too.
	rendered bool
	// results are those of the parts; exact tells that they hold the origin of
	// every field.
	results []*render.Result
	exact   bool
	err     error
	// at is where it is read, if not at the revision of the side.
	at mizzen.Snapshot
	// twin is the same Application at the other revision, which renders the same.
	twin *deployed
	// objects and findings are filled in by prepare.
	objects  []mizzen.Object
	findings []mizzen.Finding
}

func newSide(s mizzen.Snapshot, remotes []string) *side {
	return &side{snapshot: s, catalog: discover.NewCatalog(s, remotes), apps: map[string]*deployed{}}
}

// of is where an Application is read.
func (s *side) of(d *deployed) mizzen.Snapshot {
	if d.at != nil {
		return d.at
	}
	return s.snapshot
}

// collect finds and renders the Applications of both sides: the head first, so
// that the base is rendered only where it differs.
func (x *run) collect(ctx context.Context) error {
	var declared [2][]discover.Manifest
	any := false
	for i, s := range []*side{x.after, x.before} {
		if x.request.Directory != "" {
			break
		}
		manifests, err := x.scanner.Scan(ctx, s.snapshot, ".")
		if err != nil {
			return err
		}
		declared[i] = manifests
		any = any || slices.ContainsFunc(manifests, func(m discover.Manifest) bool { return discover.Deploys(m.Object) })
	}
	for i, s := range []*side{x.after, x.before} {
		queue := s.roots(declared[i])
		if !any {
			var err error
			if queue, err = s.directories(ctx, x.request.Directory); err != nil {
				return err
			}
		}
		if err := x.expand(ctx, s, queue); err != nil {
			return err
		}
		s.dropParts()
	}
	return nil
}

// roots are the Applications that stand in files.
func (s *side) roots(manifests []discover.Manifest) []*deployed {
	places := map[mizzen.Ref]map[string]bool{}
	for _, m := range manifests {
		s.catalog.Remember(m)
		ref := m.Ref()
		if places[ref] == nil {
			places[ref] = map[string]bool{}
		}
		places[ref][path.Dir(m.Origin.File)] = true
	}
	var roots []*deployed
	for _, m := range manifests {
		home := discover.FluxHome(m.Ref(), m.Origin.File)
		if home == "" && len(places[m.Ref()]) > 1 {
			home = path.Dir(m.Origin.File)
		}
		roots = s.add(roots, m, home, nil)
	}
	return roots
}

// add reads a manifest, and queues the Application that is not known yet.
func (s *side) add(queue []*deployed, m discover.Manifest, home string, parent *deployed) []*deployed {
	app, omitted := s.catalog.Read(m, home)
	switch {
	case omitted != nil && parent == nil:
		s.unread = append(s.unread, *omitted)
		return queue
	case omitted != nil:
		s.omitted = append(s.omitted, *omitted)
		return queue
	case app == nil:
		return queue
	}
	if known := s.apps[app.ID()]; known != nil {
		known.rendered = known.rendered || parent != nil
		return queue
	}
	if len(s.apps) >= maxApplications {
		s.full = true
		return queue
	}
	d := &deployed{Application: app, parent: parent}
	s.apps[app.ID()] = d
	return append(queue, d)
}

// directories are what there is to render where nothing is declared.
func (s *side) directories(ctx context.Context, root string) ([]*deployed, error) {
	if root == "" {
		root = "."
	}
	if _, err := s.snapshot.Stat(root); err != nil {
		return nil, nil //nolint:nilerr // a directory that one side lacks has nothing there
	}
	apps, err := discover.Directories(ctx, s.snapshot, root)
	var queue []*deployed
	for _, app := range apps {
		d := &deployed{Application: app}
		s.apps[app.ID()] = d
		queue = append(queue, d)
	}
	return queue, err
}

// expand renders what is queued, and what that declares. What is nested too
// deeply fails, and too many Applications are an error: what is not looked at
// would read as unchanged.
func (x *run) expand(ctx context.Context, s *side, queue []*deployed) error {
	for depth := 0; len(queue) > 0; depth++ {
		if s.full {
			return &mizzen.Error{
				Kind: mizzen.TooLarge, Object: "the repository", Err: fmt.Errorf("it declares more than %d applications", maxApplications),
				Remedy: "name a directory",
			}
		}
		if depth == maxNesting {
			tooDeep(queue)
			return nil
		}
		if err := x.renderAll(ctx, s, queue); err != nil {
			return err
		}
		nested, parents := declaredBy(queue)
		queue = nil
		for _, m := range nested {
			s.catalog.Remember(m)
		}
		for i, m := range nested {
			s.settle(&m, parents[i])
			queue = s.add(queue, m, parents[i].Home, parents[i])
		}
	}
	return nil
}

// declaredBy are the manifests of Applications that others render, and who does.
func declaredBy(apps []*deployed) (nested []discover.Manifest, parents []*deployed) {
	for _, d := range apps {
		for _, result := range d.results {
			for _, o := range result.Output.Objects {
				if discover.Declares(o.Object) {
					nested = append(nested, discover.Manifest{Object: o.Object, Origin: o.Origins.Object})
					parents = append(parents, d)
				}
			}
		}
	}
	return nested, parents
}

// tooDeep has Applications fail that are not rendered any more.
func tooDeep(apps []*deployed) {
	for _, d := range apps {
		d.err = &mizzen.Error{
			Kind: mizzen.TooLarge, Object: "application " + d.Name, Origin: d.Origin,
			Err: fmt.Errorf("it is rendered by an application that is rendered by another, and so on, %d deep", maxNesting),
		}
	}
}

// settle gives a manifest the namespace that its Application gives it.
func (s *side) settle(m *discover.Manifest, parent *deployed) {
	metadata, _ := m.Object["metadata"].(map[string]any)
	if namespace, _ := metadata["namespace"].(string); namespace != "" || metadata == nil {
		return
	}
	*m = m.In(parent.Namespace)
}

// dropParts forgets what turns out to be a part of something else, because a
// rendering read it: bases of overlays, and manifests that are patches or that
// only an overlay completes.
func (s *side) dropParts() {
	readers := s.readers()
	for id, d := range s.apps {
		if d.parent == nil && !d.rendered && readers.others(d) {
			s.drop(id)
		}
	}
	for _, f := range s.unread {
		if len(readers.of(f.Origin.File)) == 0 {
			s.omitted = append(s.omitted, f)
		}
	}
	for _, d := range s.apps {
		for _, note := range d.Notes {
			s.omitted = append(s.omitted, discover.Omitted{Finding: note})
		}
	}
}

// drop forgets an Application and what it renders.
func (s *side) drop(id string) {
	gone := s.apps[id]
	delete(s.apps, id)
	for id, d := range s.apps {
		if d.parent == gone {
			s.drop(id)
		}
	}
}

// readers tells which Applications read a file, or a directory as a whole.
type readers map[string][]*deployed

func (s *side) readers() readers {
	r := readers{}
	for _, d := range s.apps {
		for _, result := range d.results {
			for _, fact := range result.Key.Facts {
				if fact.Saw == render.SawContent {
					r[fact.Name] = append(r[fact.Name], d)
				}
			}
		}
	}
	return r
}

// of returns who read a file.
func (r readers) of(file string) []*deployed {
	found := r[file]
	for file != "." && file != "" {
		file = path.Dir(file)
		found = append(found[:len(found):len(found)], r[file]...)
	}
	return found
}

// others tells whether an Application is a part of another one, and of none
// that it renders itself.
func (r readers) others(d *deployed) bool {
	files := []string{d.Origin.File}
	if d.Kind() == "" {
		files = nil
		for _, mark := range append([]string{"Chart.yaml"}, render.KustomizationFiles...) {
			files = append(files, path.Join(d.Path(), mark))
		}
	}
	for _, file := range files {
		if slices.ContainsFunc(r.of(file), func(by *deployed) bool { return !by.under(d) }) {
			return true
		}
	}
	return false
}

// under tells whether an Application is another one, or rendered by it.
func (d *deployed) under(root *deployed) bool {
	for ; d != nil; d = d.parent {
		if d == root {
			return true
		}
	}
	return false
}
