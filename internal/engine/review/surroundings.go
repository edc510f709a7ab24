package review

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/traffic/release"
)

// complete adds what only the cluster has to both sides of its mesh, but what the
// change takes away to the first alone.
func (x *run) complete(meshes []*mesh) error {
	known := x.request.Live
	if known == nil {
		return nil
	}
	x.review.Live = &mizzen.ReviewLive{Server: known.Server, Cluster: known.Cluster}
	if len(meshes) == 0 {
		return nil // there is nothing to complete
	}
	names := make([]string, len(meshes))
	for i, m := range meshes {
		names[i] = m.name
	}
	at, err := Choose(names, known.Cluster, "--live")
	if err != nil {
		return err
	}
	m := meshes[at]
	added := beside.Of(known.Objects, m.before, m.after)
	x.review.Live.Objects = len(added)
	m.before = append(m.before, added...)
	m.after = append(m.after, slices.DeleteFunc(added, func(o mizzen.Object) bool {
		return slices.Contains(known.Leaving, o.Ref())
	})...)
	mizzen.SortObjects(m.before)
	mizzen.SortObjects(m.after)
	return nil
}

// Choose returns the place of the mesh of a name, or of the only one, among
// their names; asked is what the user asked for. The error is of Kind NotFound
// if there is none, and Invalid if there are several and no name.
func Choose(names []string, name, asked string) (int, error) {
	if name == "" && len(names) == 1 {
		return 0, nil
	}
	known := make([]string, len(names))
	for i, n := range names {
		// Where other clusters have names, the one that has none is Mizzen's own.
		if known[i] = cmp.Or(n, engine.InCluster); known[i] == name {
			return i, nil
		}
	}
	slices.Sort(known)
	switch all := strings.Join(known, ", "); {
	case len(names) == 0:
		return 0, &mizzen.Error{
			Kind: mizzen.NotFound, Object: asked, Err: errors.New("there is nothing to render"), Remedy: "name a directory with manifests",
		}
	case name != "":
		return 0, &mizzen.Error{
			Kind: mizzen.NotFound, Object: "cluster " + name, Err: errors.New("nothing goes there"), Remedy: "name one of " + all,
		}
	default:
		return 0, &mizzen.Error{
			Kind: mizzen.Invalid, Object: asked, Err: fmt.Errorf("the repository is for several clusters: %s", all),
			Remedy: "choose one with --cluster",
		}
	}
}

// releases says where a mesh runs another Istio than the model is of, whether
// or not the change has to do with it.
func (x *run) releases(m *mesh, where string) []mizzen.Finding {
	shown, _ := lint.Suppress(release.Findings(m.after), m.after)
	for i := range shown {
		if where != "" {
			shown[i].Message = fmt.Sprintf("cluster %s: %s", where, shown[i].Message)
		}
	}
	return shown
}
