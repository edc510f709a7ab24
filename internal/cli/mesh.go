package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/report"
	istio "mizzen.dev/mizzen/internal/traffic/release"
)

// meshFlags say which objects make a mesh, for verbs that look at a whole one.
type meshFlags struct {
	revision     string
	cluster      string
	capabilities render.Capabilities
	context      contextOfMesh
}

func (f *meshFlags) register(cmd *cobra.Command) {
	f.context.register(cmd, "")
	flags := cmd.Flags()
	flags.StringVar(&f.revision, "revision", "", "look at this commit, branch or tag (default: the files as they are)")
	flags.StringVar(&f.cluster, "cluster", "", "look at this cluster or environment, if the repository is for several")
	flags.StringVar(&f.capabilities.KubeVersion, "kube-version", "", "Kubernetes version that charts see")
	flags.StringSliceVar(&f.capabilities.APIVersions, "api-versions", nil, "API versions that charts see, as group/version or group/version/Kind")
}

// mesh renders all that goes to one cluster: the Applications that a clone
// declares, or the directories below a path that the user names. What cannot be
// rendered is left out, and said: the rest is still a mesh.
func (d *desk) mesh(ctx context.Context, args []string, f *meshFlags) (review.Mesh, error) {
	request, err := d.meshRequest(ctx, args, f)
	if err != nil {
		return review.Mesh{}, err
	}
	reviewer := review.Reviewer{Renderer: d.engine.Renderer}
	all, err := reviewer.Meshes(ctx, request)
	if err != nil {
		return review.Mesh{}, err
	}
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.Name
	}
	at, err := review.Choose(names, f.cluster, "mesh")
	if err != nil {
		return review.Mesh{}, err
	}
	m := all[at]
	for _, why := range m.Missing {
		fmt.Fprintf(d.app.Err, "warning: left out, since it cannot be rendered: %s\n", report.Plain(why))
	}
	fmt.Fprintf(d.app.Err, "%s rendered\n", plural(len(m.Objects), "object"))
	if err := d.completed(ctx, f, &m); err != nil {
		return review.Mesh{}, err
	}
	for _, other := range istio.Findings(m.Objects) {
		fmt.Fprintf(d.app.Err, "warning: %s\n", report.Plain(other.Message))
	}
	return m, nil
}

// completed adds what only the cluster has.
func (d *desk) completed(ctx context.Context, f *meshFlags, m *review.Mesh) error {
	known, err := f.context.live(ctx, d.app, f.cluster)
	if known == nil || err != nil {
		return err
	}
	added := beside.Of(known.Objects, m.Objects)
	fmt.Fprintf(d.app.Err, "completed by %s of %s that Git does not hold\n", plural(len(added), "object"), report.Plain(known.Server))
	m.Objects = append(m.Objects, added...)
	mizzen.SortObjects(m.Objects)
	return nil
}

func (d *desk) meshRequest(ctx context.Context, args []string, f *meshFlags) (review.Request, error) {
	at := "."
	if len(args) > 0 {
		at = args[0]
	}
	c, err := d.open(ctx, at)
	if err != nil {
		return review.Request{}, err
	}
	request := review.Request{Head: c.Snapshot, Capabilities: f.capabilities}
	request.Capabilities.APIVersions = sorted(request.Capabilities.APIVersions)
	if len(args) > 0 || c.Clone == nil {
		if request.Directory, err = c.directory(); err != nil {
			return review.Request{}, err
		}
	}
	switch {
	case c.Clone == nil && f.revision != "":
		return review.Request{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: at, Err: errors.New("it is in no clone, so that it has no revisions"), Remedy: "leave out --revision",
		}
	case c.Clone == nil:
		return request, nil
	}
	return ofClone(ctx, c, request, f.revision)
}

// ofClone adds what a clone knows: another revision, and where it came from.
func ofClone(ctx context.Context, c *clone, request review.Request, revision string) (review.Request, error) {
	if revision != "" {
		snapshot, err := c.Clone.Snapshot(ctx, revision)
		if err != nil {
			return review.Request{}, err
		}
		request.Head = snapshot
	}
	if url, err := c.Clone.OriginURL(ctx); err == nil && url != "" {
		request.Remotes = []string{url}
	}
	return request, nil
}
