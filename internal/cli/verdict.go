package cli

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
)

// judges tells whether a value of --fail-on asks for a Verdict.
func judges(on string) bool { return on == "deny" || on == "approval" }

// verdict is what a gate would say of what is planned: of the step from the
// synced revision of the Application, among the others of its repository and
// cluster as they are synced. The first sync, which has nothing to be compared
// with, is allowed.
func (d *desk) verdict(ctx context.Context, c client.Client, app *v1alpha1.Application, t engine.Target) (*mizzen.Verdict, error) {
	if app.Status.Revision == "" {
		fmt.Fprintf(d.app.Err, "%s: nothing is synced yet that policy could compare with\n", app.Name)
		return &mizzen.Verdict{Decision: mizzen.Allow}, nil
	}
	base, err := d.content(ctx, c, app, contentFlags{revision: app.Status.Revision})
	if err != nil {
		return nil, fmt.Errorf("the synced revision is not there to compare with: %w", err)
	}
	others, err := d.neighbors(ctx, c, app, t.Snapshot)
	if err != nil {
		return nil, err
	}
	version, apis, err := t.Destination.Cluster.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	reviewer := review.Reviewer{
		Renderer: d.engine.Renderer, Traffic: d.traffic, Analyzer: d.traffic, Masker: t.Destination.Masker,
	}
	r, err := reviewer.Single(ctx, review.Single{
		Application: discover.Of(app), Base: base, Head: t.Snapshot, Others: others,
		Capabilities: render.Capabilities{KubeVersion: version, APIVersions: apis},
	})
	if err != nil {
		return nil, err
	}
	return r.Verdict, nil
}

// neighbors are the other Applications of the same repository and cluster, at
// their synced revisions. One that never was synced, or whose revision is not
// there any more, is taken as it is going to be.
func (d *desk) neighbors(ctx context.Context, c client.Client, app *v1alpha1.Application, head mizzen.Snapshot) ([]review.Neighbor, error) {
	var apps v1alpha1.ApplicationList
	if err := c.List(ctx, &apps, client.InNamespace(app.Namespace)); err != nil {
		return nil, explain(err, "applications", "")
	}
	at := map[string]mizzen.Snapshot{"": head}
	var others []review.Neighbor
	for i := range apps.Items {
		other := &apps.Items[i]
		if other.Name == app.Name || other.Spec.Source.Repository != app.Spec.Source.Repository ||
			other.Spec.Destination.Cluster != app.Spec.Destination.Cluster || !other.DeletionTimestamp.IsZero() {
			continue
		}
		revision := other.Status.Revision
		if at[revision] == nil {
			at[revision] = head
			if s, err := d.content(ctx, c, other, contentFlags{revision: revision}); err == nil {
				at[revision] = s
			}
		}
		others = append(others, review.Neighbor{Application: discover.Of(other), At: at[revision]})
	}
	return others, nil
}
