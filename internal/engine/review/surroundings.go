package review

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/traffic/release"
)

// complete adds what only the cluster has to both sides of its mesh.
func (x *run) complete(meshes []*mesh) error {
	known := x.request.Live
	if known == nil {
		return nil
	}
	m, err := meshOf(meshes, known.Cluster)
	if err != nil {
		return err
	}
	x.review.Live = &mizzen.ReviewLive{Server: known.Server, Cluster: known.Cluster}
	if m == nil {
		return nil // there is nothing to complete
	}
	added := beside.Of(known.Objects, m.before, m.after)
	m.before, m.after = append(m.before, added...), append(m.after, added...)
	mizzen.SortObjects(m.before)
	mizzen.SortObjects(m.after)
	x.review.Live.Objects = len(added)
	return nil
}

// meshOf returns the mesh of a name, or the only one; nil if there is none at
// all.
func meshOf(meshes []*mesh, name string) (*mesh, error) {
	if len(meshes) == 0 || name == "" && len(meshes) == 1 {
		if len(meshes) == 0 {
			return nil, nil
		}
		return meshes[0], nil
	}
	var names []string
	for _, m := range meshes {
		// Where other clusters have names, the one that has none is Mizzen's own.
		is := cmp.Or(m.name, engine.InCluster)
		if is == name {
			return m, nil
		}
		names = append(names, is)
	}
	if name == "" {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "--live", Err: fmt.Errorf("the repository is for several clusters: %s", strings.Join(names, ", ")),
			Remedy: "say which one the live cluster is with --cluster",
		}
	}
	return nil, &mizzen.Error{
		Kind: mizzen.NotFound, Object: "cluster " + name, Err: errors.New("nothing goes there"), Remedy: "name one of " + strings.Join(names, ", "),
	}
}

// releases says where a mesh runs another Istio than the model is of, whether
// or not the change has to do with it.
func (x *run) releases(_ context.Context, m *mesh, where string) error {
	shown, _ := lint.Suppress(release.Findings(m.after), m.after)
	for _, f := range shown {
		if where != "" {
			f.Message = fmt.Sprintf("cluster %s: %s", where, f.Message)
		}
		x.review.Findings = append(x.review.Findings, f)
	}
	return nil
}
