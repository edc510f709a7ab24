package review

import (
	"context"
	"path"
	"slices"
	"strings"

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
	apps    map[string]*deployed
	omitted []mizzen.Finding
}

// deployed is an Application with what it renders.
type deployed struct {
	*discover.Application
	// parent is the Application that renders this one's manifest; nil for one
	// that stands in a file.
	parent *deployed
	// results are those of the parts; exact tells that they hold the origin of
	// every field.
	results []*render.Result
	exact   bool
	err     error
	// twin is the same Application at the other revision, which renders the same.
	twin *deployed
	// objects and findings are filled in by prepare.
	objects  []mizzen.Object
	findings []mizzen.Finding
}

func newSide(s mizzen.Snapshot, remotes []string) *side {
	return &side{snapshot: s, catalog: discover.NewCatalog(s, remotes), apps: map[string]*deployed{}}
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
		s.dropConsumed()
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
	if omitted != nil {
		s.omitted = append(s.omitted, *omitted)
	}
	if app == nil || s.apps[app.ID()] != nil || len(s.apps) >= maxApplications {
		return queue
	}
	d := &deployed{Application: app, parent: parent}
	s.apps[app.ID()] = d
	s.omitted = append(s.omitted, app.Notes...)
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

// expand renders what is queued, and what that declares.
func (x *run) expand(ctx context.Context, s *side, queue []*deployed) error {
	for depth := 0; len(queue) > 0 && depth < maxNesting; depth++ {
		if err := x.renderAll(ctx, s, queue); err != nil {
			return err
		}
		var nested []discover.Manifest
		var parents []*deployed
		for _, d := range queue {
			for _, result := range d.results {
				for _, o := range result.Output.Objects {
					if discover.Declares(o.Object) {
						nested = append(nested, discover.Manifest{Object: o.Object, Origin: o.Origins.Object})
						parents = append(parents, d)
					}
				}
			}
		}
		queue = nil
		for _, m := range nested {
			s.catalog.Remember(m)
		}
		for i, m := range nested {
			s.settle(&m, parents[i])
			queue = s.add(queue, m, parents[i].Home, parents[i])
			s.replace(m, parents[i].Home)
		}
	}
	return nil
}

// settle gives a manifest the namespace that its Application gives it.
func (s *side) settle(m *discover.Manifest, parent *deployed) {
	metadata, _ := m.Object["metadata"].(map[string]any)
	if namespace, _ := metadata["namespace"].(string); namespace != "" || metadata == nil {
		return
	}
	*m = m.In(parent.Namespace)
}

// replace drops Applications that stand in the file of a manifest that another
// one renders under another identity: the file is the base of an overlay, and
// not to be deployed as it is.
func (s *side) replace(m discover.Manifest, home string) {
	files := map[string]bool{m.Origin.File: true}
	for _, via := range m.Origin.Via {
		files[via.File] = true
	}
	for id, d := range s.apps {
		if d.parent == nil && d.Kind() != "" && files[d.Origin.File] && (d.Ref != m.Ref() || d.Home != home) {
			s.drop(id)
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

// dropConsumed forgets directories that others read: bases of overlays.
func (s *side) dropConsumed() {
	consumed := map[string]bool{}
	for _, d := range s.apps {
		for _, other := range s.apps {
			if d != other && d.Kind() == "" && other.reads(d.Path()) {
				consumed[d.ID()] = true
			}
		}
	}
	for id := range consumed {
		s.drop(id)
	}
}

// reads tells whether a rendering read what makes a directory renderable.
func (d *deployed) reads(directory string) bool {
	marks := append([]string{"Chart.yaml"}, render.KustomizationFiles...)
	for _, result := range d.results {
		for _, fact := range result.Key.Facts {
			if fact.Saw != render.SawContent {
				continue
			}
			if fact.Name == directory || strings.HasPrefix(directory, fact.Name+"/") {
				return true
			}
			if path.Dir(fact.Name) == directory && slices.Contains(marks, path.Base(fact.Name)) {
				return true
			}
		}
	}
	return false
}
