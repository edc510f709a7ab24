package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source"
)

// meshFlags say which objects make a mesh, for verbs that look at a whole one.
type meshFlags struct {
	render   renderFlags
	revision string
	cluster  string
}

func (f *meshFlags) register(cmd *cobra.Command) {
	flags, o := cmd.Flags(), &f.render.options
	flags.StringVar(&f.revision, "revision", "", "render this commit, branch or tag (default: the files as they are)")
	flags.StringVar(&f.cluster, "cluster", "", "render the Applications that go to this cluster, if they go to several")
	flags.StringVar(&o.Namespace, "dest-namespace", "default", "namespace of objects that name none, where no Application says it")
	flags.StringVar(&o.Capabilities.KubeVersion, "kube-version", "", "Kubernetes version that charts see")
	flags.StringSliceVar(&f.render.apiVersions, "api-versions", nil, "API versions that charts see, as group/version or group/version/Kind")
}

// meshObjects renders all that goes to one cluster: every Application that the
// clones of the paths hold, or below a path without one the path itself. What
// cannot be rendered is left out, and said: the rest is still a mesh.
func (d *desk) meshObjects(ctx context.Context, paths []string, f *meshFlags) ([]mizzen.Object, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var all []mizzen.Object
	for _, name := range paths {
		c, err := d.openAt(ctx, name, f.revision)
		if err != nil {
			return nil, err
		}
		todo, err := d.meshWorks(ctx, c, f)
		if err != nil {
			return nil, err
		}
		for _, w := range todo {
			objects, err := d.renderForMesh(ctx, c, w)
			if ctx.Err() != nil || err != nil && len(todo) == 1 {
				return nil, err
			}
			if err != nil {
				fmt.Fprintf(d.app.Err, "warning: %s is left out: %v\n", w.name, err)
			}
			all = append(all, objects...)
		}
	}
	fmt.Fprintf(d.app.Err, "%s rendered\n", plural(len(all), "object"))
	return all, nil
}

// openAt opens a path as it is on disk, or as it was at a revision.
func (d *desk) openAt(ctx context.Context, name, revision string) (*clone, error) {
	c, err := d.open(ctx, name)
	if err != nil || revision == "" {
		return c, err
	}
	if c.Clone == nil {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: name, Err: errors.New("it is in no clone, so that it has no revisions"), Remedy: "leave out --revision",
		}
	}
	snapshot, err := c.Clone.Snapshot(ctx, revision)
	if err != nil {
		return nil, err
	}
	c.Snapshot = snapshot
	return c, nil
}

// meshWorks are the Applications of a clone that go to one cluster.
func (d *desk) meshWorks(ctx context.Context, c *clone, f *meshFlags) ([]work, error) {
	apps, err := d.applications(ctx, c, &f.render)
	if err != nil {
		return nil, err
	}
	var clusters []string
	byCluster := map[string][]work{}
	for _, app := range apps {
		where := app.Spec.Destination.Cluster
		if _, seen := byCluster[where]; !seen {
			clusters = append(clusters, where)
		}
		w := f.render.of(app)
		w.options.Namespace = app.Spec.Destination.Namespace
		byCluster[where] = append(byCluster[where], w)
	}
	slices.Sort(clusters)
	switch {
	case f.cluster != "":
		if len(byCluster[f.cluster]) == 0 {
			return nil, &mizzen.Error{
				Kind: mizzen.NotFound, Object: "cluster " + f.cluster, Err: errors.New("no Application goes there"),
				Remedy: "name one of " + strings.Join(clusterNames(clusters), ", "),
			}
		}
		return byCluster[f.cluster], nil
	case len(clusters) > 1:
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: c.Path, Err: fmt.Errorf("its Applications go to the clusters %s", strings.Join(clusterNames(clusters), ", ")),
			Remedy: "choose one with --cluster",
		}
	case len(clusters) == 1:
		return byCluster[clusters[0]], nil
	}
	w, err := f.render.plain(c)
	return []work{w}, err
}

// clusterNames names the cluster without a name, in which Mizzen itself runs.
func clusterNames(clusters []string) []string {
	names := slices.Clone(clusters)
	for i := range names {
		if names[i] == "" {
			names[i] = "in-cluster"
		}
	}
	return names
}

// unplaced are the kinds of a mesh whose objects are in no namespace.
var unplaced = []string{"Namespace", "GatewayClass", "IngressClass"}

// renderForMesh renders one Application, and puts objects that name no
// namespace into the one that they go to.
func (d *desk) renderForMesh(ctx context.Context, c *clone, w work) ([]mizzen.Object, error) {
	w.options.FieldOrigins = true
	result, err := d.engine.Renderer.Render(ctx, c.Snapshot, w.options)
	if err != nil {
		return nil, source.Explain(ctx, c.Snapshot, err)
	}
	objects := slices.Clone(result.Output.Objects)
	for i, o := range objects {
		if o.GetNamespace() == "" && !slices.Contains(unplaced, o.GetKind()) {
			placed := o.DeepCopy() // rendered objects are shared with the cache
			placed.SetNamespace(w.options.Namespace)
			objects[i].Unstructured = placed
		}
	}
	return objects, nil
}
