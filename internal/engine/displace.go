package engine

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// displace plans to take away list elements of strangers that stand in the way:
// whoever renumbers a port of a Service by hand makes another element of it,
// and the API server refuses that one beside ours of the same name. It returns
// false if there are none, or if the fault is with the object itself.
func (p *Planned) displace(ctx context.Context, c candidate, current *unstructured.Unstructured, j *judgement) bool {
	ref := c.object.Ref()
	if !p.knows(ref) {
		return false
	}
	var elements []mizzen.FieldChange
	for _, f := range p.target.Destination.Cluster.Foreign(ref, current) {
		// If it was the only element, we own nothing of the list any more.
		_, list := f.Before.([]any)
		if steps := f.Path.Steps(); list || len(steps) > 0 && steps[len(steps)-1].Index >= 0 {
			elements = append(elements, f)
		}
	}
	if len(elements) == 0 || !p.validAlone(ctx, c) {
		return false
	}
	j.change = p.compareObject(c, current, nil, "the API server refuses it beside what "+elements[0].Manager+" added, which goes in the same request")
	j.change.Action = mizzen.Update
	for _, f := range elements {
		j.change.Displace = append(j.change.Displace, f.Path)
		if !slices.ContainsFunc(j.change.Fields, func(have mizzen.FieldChange) bool { return have.Path == f.Path }) {
			j.change.Fields = append(j.change.Fields, f)
		}
	}
	return true
}

// validAlone tells whether the API server would take the object if nothing of
// that name were there.
func (p *Planned) validAlone(ctx context.Context, c candidate) bool {
	alone := c.object.DeepCopy()
	alone.SetName(c.object.GetName() + "-mizzen-probe")
	_, err := p.target.Destination.Writer.DryRun(ctx, mizzen.Object{Unstructured: alone, Origins: c.object.Origins}, nil)
	return err == nil
}
