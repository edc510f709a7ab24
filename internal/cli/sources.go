package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/source/dir"
	"mizzen.dev/mizzen/internal/source/git"
)

// renderFlags are what an Application says about its source, as flags, for
// rendering a clone without a cluster.
type renderFlags struct {
	application string
	renderer    string
	values      []string
	images      []string
	apiVersions []string
	options     render.Options
}

func (f *renderFlags) register(cmd *cobra.Command) {
	flags, o := cmd.Flags(), &f.options
	flags.StringVar(&f.application, "application", "", "render as this Application says: a manifest file, or the name of one that the clone holds")
	flags.StringVar(&f.renderer, "renderer", "", "helm, kustomize or plain (default: as the files tell)")
	flags.StringSliceVarP(&f.values, "values", "f", nil, "values file of a chart; later ones win")
	flags.StringVar(&o.ReleaseName, "release-name", "", "release name of a chart (default: the directory's name)")
	flags.StringVar(&o.Namespace, "dest-namespace", "default", "namespace that the objects go to")
	flags.StringVar(&o.Capabilities.KubeVersion, "kube-version", "", "Kubernetes version that a chart sees")
	flags.StringSliceVar(&f.apiVersions, "api-versions", nil, "API versions that a chart sees, as group/version or group/version/Kind")
	flags.BoolVar(&o.SkipCRDs, "skip-crds", false, "leave out a chart's crds/")
	flags.BoolVar(&o.IsUpgrade, "is-upgrade", false, "render a chart as for an upgrade")
	flags.StringSliceVar(&f.images, "image", nil, "image override of a kustomization: name=newName:newTag")
	flags.StringVar(&o.NamePrefix, "name-prefix", "", "prefix of all names of a kustomization")
	complete(cmd, "renderer", renderers)
}

var renderers = []string{"helm", "kustomize", "plain"}

// work is one directory to render, and how.
type work struct {
	// name is the Application's, or the directory.
	name string
	// cluster is that of the Application, "" for the one that holds it.
	cluster string
	// application tells that an Application says how.
	application bool
	options     render.Options
}

// clone is an opened path of the user's disk.
type clone struct {
	*dir.Source
	// root is where the Snapshot is on disk.
	root string
}

// open opens a path of the user's disk. Outside of a clone the Snapshot is of
// the working directory, if the path is below it: a kustomization may then
// refer to its neighbors, as it may in a clone.
func (d *desk) open(ctx context.Context, name string) (*clone, error) {
	opened, err := dir.Open(ctx, name, git.Options{})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, opened.Close)
	if opened.Clone != nil {
		return &clone{opened, opened.Clone.Root()}, nil
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(root, abs); err == nil && filepath.IsLocal(rel) {
		here, err := dir.Open(ctx, ".", git.Options{})
		if err != nil {
			return nil, err
		}
		d.closers = append(d.closers, here.Close)
		here.Path = filepath.ToSlash(rel)
		return &clone{here, root}, nil
	}
	if opened.Path != "." {
		abs = filepath.Dir(abs)
	}
	return &clone{opened, abs}, nil
}

// directory refuses a path that is a file: what is rendered is a directory.
func (c *clone) directory() (string, error) {
	info, err := fs.Stat(c.Snapshot, c.Path)
	if err == nil && !info.IsDir() {
		return "", &mizzen.Error{
			Kind: mizzen.Invalid, Object: c.Path, Err: errors.New("it is a file"), Remedy: "name the directory that it is in",
		}
	}
	return c.Path, err
}

// plain is the work that the flags alone describe.
func (f *renderFlags) plain(c *clone) (work, error) {
	directory, err := c.directory()
	if err != nil {
		return work{}, err
	}
	o := f.options
	o.Path = directory
	if o.Renderer, err = rendererNamed(f.renderer); err != nil {
		return work{}, err
	}
	if o.ReleaseName == "" {
		o.ReleaseName = filepath.Base(filepath.Join(c.root, directory))
	}
	o.Images, o.Capabilities.APIVersions = f.images, sorted(f.apiVersions)
	for _, file := range f.values {
		o.ValuesFiles = append(o.ValuesFiles, c.valuesFile(file))
	}
	return work{name: directory, options: o}, nil
}

func rendererNamed(name string) (render.Renderer, error) {
	if name == "" {
		return "", nil
	}
	for _, r := range []render.Renderer{render.Helm, render.Kustomize, render.Plain} {
		if strings.EqualFold(string(r), name) {
			return r, nil
		}
	}
	return "", oneOf("--renderer", name, renderers)
}

func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// valuesFile turns a path as users write it, seen from where they stand, into
// one of the Snapshot. What is not there is left as it is: relative to the
// chart.
func (c *clone) valuesFile(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	root, err := filepath.EvalSymlinks(c.root)
	if err != nil {
		return file
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return file
	}
	if _, err := fs.Stat(c.Snapshot, filepath.ToSlash(rel)); err != nil {
		return file
	}
	return "/" + filepath.ToSlash(rel)
}

// of is the work of an Application, with the flags that say what its cluster
// would.
func (f *renderFlags) of(app *v1alpha1.Application) work {
	o := engine.RenderOptions(app)
	o.IsUpgrade = f.options.IsUpgrade
	o.Capabilities.KubeVersion, o.Capabilities.APIVersions = f.options.Capabilities.KubeVersion, sorted(f.apiVersions)
	return work{app.Name, app.Spec.Destination.Cluster, true, o}
}

// named is the work of the Application that --application names.
func (f *renderFlags) named(ctx context.Context, d *desk, c *clone) (work, error) {
	if b, err := os.ReadFile(f.application); err == nil {
		for _, app := range applicationsIn(b) {
			return f.of(app), nil
		}
		return work{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: f.application, Err: errors.New("it holds no Application"), Remedy: "name a manifest of kind Application",
		}
	}
	apps, err := d.applications(ctx, c, f)
	if err != nil {
		return work{}, err
	}
	names := make([]string, 0, len(apps))
	for _, app := range apps {
		if app.Name == f.application {
			return f.of(app), nil
		}
		names = append(names, app.Name)
	}
	remedy := "name a file with the manifest"
	if len(names) > 0 {
		remedy = "there are " + strings.Join(names, ", ")
	}
	return work{}, &mizzen.Error{
		Kind: mizzen.NotFound, Object: "application " + f.application, Err: errors.New("neither a file nor an Application of this clone"), Remedy: remedy,
	}
}

// maxManifest bounds the files that are searched for Applications.
const maxManifest = 1 << 20

// applications finds the Applications that a clone holds: in its manifests,
// and in what these Applications render, as an application of applications
// does. They are sorted by name.
func (d *desk) applications(ctx context.Context, c *clone, f *renderFlags) ([]*v1alpha1.Application, error) {
	found := map[string]*v1alpha1.Application{}
	queue, err := manifests(c.Snapshot)
	if err != nil {
		return nil, err
	}
	for len(queue) > 0 {
		app := queue[0]
		queue = queue[1:]
		if _, seen := found[app.Name]; seen {
			continue
		}
		found[app.Name] = app
		if !mentionsApplications(c.Snapshot, app.Spec.Source.Path) {
			continue
		}
		out, err := d.engine.Renderer.Render(ctx, c.Snapshot, f.of(app).options)
		if err != nil {
			fmt.Fprintf(d.app.Err, "warning: %s is not searched for Applications: %v\n", app.Name, err)
			continue
		}
		for _, o := range out.Output.Objects {
			if nested := applicationOf(o.Object); nested != nil {
				queue = append(queue, nested)
			}
		}
	}
	apps := make([]*v1alpha1.Application, 0, len(found))
	for _, app := range found {
		apps = append(apps, app)
	}
	slices.SortFunc(apps, func(a, b *v1alpha1.Application) int { return strings.Compare(a.Name, b.Name) })
	return apps, nil
}

// manifests returns the Applications that stand literally in a Snapshot.
func manifests(s mizzen.Snapshot) ([]*v1alpha1.Application, error) {
	var apps []*v1alpha1.Application
	err := walk(s, ".", func(b []byte) { apps = append(apps, applicationsIn(b)...) })
	return apps, err
}

// mentionsApplications tells whether a directory could render Applications at
// all, so that not everything is rendered in search of them.
func mentionsApplications(s mizzen.Snapshot, directory string) bool {
	found := false
	_ = walk(s, path.Clean(directory), func(b []byte) { found = found || bytes.Contains(b, []byte("kind: Application")) })
	return found
}

// walk reads the small text files below a directory that may be manifests.
func walk(s mizzen.Snapshot, directory string, read func([]byte)) error {
	return fs.WalkDir(s, directory, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		switch path.Ext(name) {
		case ".yaml", ".yml", ".json", ".tpl":
		default:
			return nil
		}
		if info, err := entry.Info(); err != nil || info.Size() > maxManifest || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // what cannot be read holds no Application that could be found
		}
		if b, err := s.ReadFile(name); err == nil {
			read(b)
		}
		return nil
	})
}

// applicationsIn reads the Applications of a file. What is no YAML, as a
// template of a chart, holds none.
func applicationsIn(b []byte) []*v1alpha1.Application {
	if !strings.Contains(string(b), "kind: Application") && !strings.Contains(string(b), `"Application"`) {
		return nil
	}
	var apps []*v1alpha1.Application
	for _, document := range strings.Split("\n"+string(b), "\n---") {
		var object map[string]any
		if yaml.Unmarshal([]byte(document), &object) == nil {
			if app := applicationOf(object); app != nil {
				apps = append(apps, app)
			}
		}
	}
	return apps
}

// applicationOf returns an object as an Application; nil if it is none.
func applicationOf(object map[string]any) *v1alpha1.Application {
	if object["kind"] != "Application" || object["apiVersion"] != v1alpha1.GroupVersion.String() {
		return nil
	}
	b, err := json.Marshal(object)
	if err != nil {
		return nil
	}
	var app v1alpha1.Application
	if json.Unmarshal(b, &app) != nil || app.Name == "" {
		return nil
	}
	return &app
}
