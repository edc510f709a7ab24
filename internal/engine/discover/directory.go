package discover

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

// Directories returns, for a repository that declares no Application, every
// directory below root that holds a chart or a kustomization, or root itself
// as plain manifests if there is none. Charts within charts, library charts
// and kustomize components are no results: they are part of others. Bases of
// overlays are, since only a rendering tells what is one.
func Directories(ctx context.Context, s mizzen.Snapshot, root string) ([]*Application, error) {
	var found []*Application
	if err := directories(ctx, s, clean(root), 0, &found); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		found = append(found, directory(clean(root), render.Plain))
	}
	slices.SortFunc(found, func(a, b *Application) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func directories(ctx context.Context, s mizzen.Snapshot, name string, depth int, found *[]*Application) error {
	if err := ctx.Err(); err != nil || depth > maxDepth || len(*found) > maxManifests {
		return err
	}
	entries, err := s.ReadDir(name)
	if err != nil {
		return err
	}
	r := rendererOf(entries)
	if r != "" && !isPart(s, name, r) {
		*found = append(*found, directory(name, r))
	}
	if r == render.Helm {
		return nil // what is below a chart belongs to it
	}
	for _, below := range subdirectories(entries) {
		if err := directories(ctx, s, path.Join(name, below), depth+1, found); err != nil {
			return err
		}
	}
	return nil
}

// subdirectories are those that are not hidden.
func subdirectories(entries []fs.DirEntry) []string {
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func directory(name string, r render.Renderer) *Application {
	release := path.Base(name)
	if release == "." {
		release = "release-name" // as `helm template` calls it
	}
	return &Application{Name: name, Namespace: "default", Prune: true, Parts: []Part{{Options: render.Options{
		Path: name, Renderer: r, Namespace: "default", ReleaseName: release, IsUpgrade: true, Scope: name,
	}}}}
}

// rendererOf tells how a directory with these entries is rendered; "" if it is
// not one to be rendered as a whole.
func rendererOf(entries []fs.DirEntry) render.Renderer {
	var r render.Renderer
	for _, e := range entries {
		switch {
		case e.Name() == "Chart.yaml":
			return render.Helm
		case slices.Contains(render.KustomizationFiles, e.Name()):
			r = render.Kustomize
		}
	}
	return r
}

// isPart tells whether a directory is nothing by itself.
func isPart(s mizzen.Snapshot, name string, r render.Renderer) bool {
	if r == render.Helm {
		return isLibrary(s, name)
	}
	return isComponent(s, name)
}

// isLibrary tells whether a chart only lends templates to others.
func isLibrary(s mizzen.Snapshot, name string) bool {
	var chart struct {
		Type string `json:"type"`
	}
	b, err := s.ReadFile(path.Join(name, "Chart.yaml"))
	return err == nil && yaml.Unmarshal(b, &chart) == nil && chart.Type == "library"
}

// isComponent tells whether a kustomization is only a part of others.
func isComponent(s mizzen.Snapshot, name string) bool {
	for _, file := range render.KustomizationFiles {
		var k struct {
			Kind string `json:"kind"`
		}
		if b, err := s.ReadFile(path.Join(name, file)); err == nil && yaml.Unmarshal(b, &k) == nil {
			return k.Kind == "Component"
		}
	}
	return false
}
