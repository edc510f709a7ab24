package engine

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
)

// mayBeDirect tells whether a candidate is the only thing to be written, and an
// object of ours that nobody touched since it was last applied: then there is
// no surprise that a dry-run could bring to light before it does harm.
func (p *Planned) mayBeDirect(open []candidate) bool {
	if !p.target.Direct || p.target.Careful || len(open) != 1 || len(p.Changes) > 0 {
		return false
	}
	ref := open[0].object.Ref()
	known := p.target.Known[ref]
	seen, ok := p.watched(ref)
	return ok && known.Managed != "" && seen.managed == known.Managed && !seen.foreign && ref.Kind != "CustomResourceDefinition"
}

// judgeDirect plans a change by what Git and the live object say, without the
// API server's word on it. ok is false if there is more to it than that.
func (p *Planned) judgeDirect(c candidate, current *unstructured.Unstructured, j judgement) (judgement, bool) {
	settled := apply.Settle(c.object, current, p.manager())
	if len(settled.LeftOut)+len(settled.Release) > 0 || j.change.Options != (mizzen.SyncOptions{Wave: j.change.Wave}) {
		return j, false
	}
	j.change = p.compareObject(c, current, nil, "it is the only change, so the apply itself verifies it")
	j.change.Desired = &settled.Object
	p.direct = current
	return j, j.change.Action == mizzen.Update
}

// told replaces what was expected of a direct change by what it did.
func (p *Planned) told(c *mizzen.Change, r apply.Result) {
	if p.direct == nil || r.Object == nil {
		return
	}
	c.Fields = p.compareObject(candidate{object: p.objects[c.Ref]}, p.direct, r.Object, "").Fields
	c.NotVerified = ""
	for i := range p.Changes {
		if p.Changes[i].Ref == c.Ref {
			p.Changes[i] = *c
		}
	}
	p.Digest = p.ComputeDigest()
}
