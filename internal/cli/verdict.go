package cli

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
)

// judges tells whether a value of --fail-on asks for a Verdict.
func judges(on string) bool { return on == "deny" || on == "approval" }

// assess completes a plan by what the step from the synced revision does to
// traffic, and by what a gate would say of it: of that Application, among the
// others of its repository and cluster as they are synced, and what else the
// cluster has. What cannot be told is a Finding, unless the answer depends on it.
func (d *desk) assess(ctx context.Context, c client.Client, app *v1alpha1.Application, t engine.Target, p *engine.Planned) error {
	switch {
	case app.Status.Revision == "":
		p.Verdict = &mizzen.Verdict{Decision: mizzen.Allow}
		find(p.Plan, mizzen.Finding{
			Code: mizzen.CodeNotJudged, Severity: mizzen.Info,
			Message: "the effects on traffic are not known: nothing is synced yet that the plan could be compared with",
		})
		return nil
	case app.Status.RenderKey == p.Key.Identity():
		p.Effects, p.Verdict = []mizzen.Effect{}, &mizzen.Verdict{Decision: mizzen.Allow}
		return nil
	}
	r, err := d.step(ctx, c, app, t, p)
	switch {
	case err == nil:
		take(p.Plan, r)
	case d.judges || ctx.Err() != nil:
		return err
	default:
		find(p.Plan, mizzen.Finding{
			Code: mizzen.CodeNotJudged, Severity: mizzen.Warning, Message: "the effects on traffic are not known: " + err.Error(),
		})
	}
	return nil
}

// take gives a plan what a review says beyond it. Its Findings are about the
// objects themselves, which those of the plan are about, too, but for what says
// how far the review can be trusted.
func take(p *mizzen.Plan, r *mizzen.Review) {
	p.Verdict, p.Live = r.Verdict, r.Live
	if r.EffectsUnknown == "" {
		p.Effects = r.Effects
	}
	for _, f := range r.Findings {
		switch f.Code {
		case mizzen.CodeAnotherIstio:
			find(p, f)
		case mizzen.CodeNotJudged:
			f.Severity = mizzen.Warning // it stops no sync; what it means for a gate is the Verdict
			find(p, f)
		}
	}
}

func find(p *mizzen.Plan, f mizzen.Finding) {
	p.Findings = append(p.Findings, f)
	mizzen.SortFindings(p.Findings)
}

// step reviews the step from the synced revision to what is planned.
func (d *desk) step(ctx context.Context, c client.Client, app *v1alpha1.Application, t engine.Target, p *engine.Planned) (*mizzen.Review, error) {
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
	objects, err := d.beside(ctx, t.Destination)
	if err != nil {
		return nil, fmt.Errorf("what cluster %s has beside Git cannot be read: %w", t.Destination.Name, err)
	}
	reviewer := review.Reviewer{
		Renderer: d.engine.Renderer, Traffic: d.traffic, Analyzer: d.traffic, Masker: t.Destination.Masker,
	}
	return reviewer.Single(ctx, review.Single{
		Application: discover.Of(app), Base: base, Head: t.Snapshot, Others: others,
		Live:         &review.Live{Server: t.Destination.Name, Objects: objects, Leaving: p.Deleted()},
		Capabilities: render.Capabilities{KubeVersion: version, APIVersions: apis},
	})
}

// beside reads what a cluster has beside Git, once for all Applications that go
// there.
func (d *desk) beside(ctx context.Context, to engine.Destination) ([]mizzen.Object, error) {
	if known, ok := d.surroundings[to.Name]; ok {
		return known, nil
	}
	objects, err := beside.Read(ctx, to.Cluster)
	if err == nil {
		d.surroundings[to.Name] = objects
	}
	return objects, err
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
