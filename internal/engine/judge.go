package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/live"
)

// judgement is what comparing one object came to.
type judgement struct {
	change   mizzen.Change
	findings []mizzen.Finding
	// managed is the hash of our managedFields entry if nothing is to be done.
	managed string
	// foreign: the object is as it should be, and not ours, so nothing more of it
	// is looked at or told.
	foreign bool
}

func (j *judgement) find(code mizzen.Code, severity mizzen.Severity, message, remedy string) {
	j.findings = append(j.findings, mizzen.Finding{
		Code: code, Severity: severity, Ref: j.change.Ref, Origin: j.change.Origin, Message: message, Remedy: remedy,
	})
}

// judge compares one object with the live one, nil if there is none; direct
// allows to leave the API server's word on it to the apply.
func (p *Planned) judge(ctx context.Context, c candidate, current *unstructured.Unstructured, direct bool) (judgement, error) {
	j := judgement{change: p.compareObject(c, current, nil, "")}
	switch {
	case j.change.Action == mizzen.Skip:
		return j, nil
	case current == nil:
		return p.judgeNew(ctx, c, j)
	case j.change.Options.Policy == mizzen.ApplyIfNotPresent:
		owner, ownership := p.target.Destination.Cluster.Owner(c.object.Ref(), current)
		j.foreign = ownership != live.Ours || owner != p.target.Name
		return j, nil
	}
	return p.judgeExisting(ctx, c, current, j, direct)
}

// judgeNew asks the API server about an object that does not exist, if the
// Application wants that.
func (p *Planned) judgeNew(ctx context.Context, c candidate, j judgement) (judgement, error) {
	if !p.target.Policy.DryRunCreates {
		j.change.NotVerified = "a new object is checked against the cluster's schemas only"
		return j, nil
	}
	if _, err := p.target.Destination.Writer.DryRun(ctx, c.object, nil); err != nil {
		return p.unverified(j, err)
	}
	j.change.NotVerified = ""
	return j, nil
}

// unverified marks a change that could not be dry-run because something that
// the same commit brings is not there yet, or because nobody may ask. What the
// API server says against the object itself is a Finding that stops the sync.
func (p *Planned) unverified(j judgement, err error) (judgement, error) {
	switch mizzen.KindOf(err) {
	case mizzen.NotFound:
		j.change.NotVerified = "its namespace does not exist yet"
	case mizzen.Invalid, mizzen.Conflict, mizzen.Forbidden, mizzen.Refused:
		j.find(codeOf(err), mizzen.Fatal, err.Error(), "")
	default:
		return j, err
	}
	return j, nil
}

func (p *Planned) judgeExisting(ctx context.Context, c candidate, current *unstructured.Unstructured, j judgement, direct bool) (judgement, error) {
	ref := c.object.Ref()
	owner, ownership := p.target.Destination.Cluster.Owner(ref, current)
	switch {
	case ownership == live.Ours && owner != p.target.Name, ownership == live.Another:
		if _, err := p.target.Destination.Writer.DryRun(ctx, c.object, current); mizzen.KindOf(err) == mizzen.Forbidden {
			return p.unverified(j, err) // who may not write it learns nothing of it
		}
		j.change.Action, j.change.Desired, j.change.Fields = mizzen.Skip, nil, nil
		j.change.NotVerified, j.change.Reason = "", fmt.Sprintf("it belongs to application %s", owner)
		j.find(mizzen.CodeOwnedByAnother, mizzen.Fatal,
			fmt.Sprintf("%s already belongs to application %s", ref, owner), "remove it from one of the two; the first owner keeps it")
		return j, nil
	case ownership != live.Ours && !p.knows(ref):
		return p.adopt(ctx, c, current, j)
	}
	if direct && ownership == live.Ours && current.GetDeletionTimestamp() == nil {
		if judged, ok := p.judgeDirect(c, current, j); ok {
			return judged, nil
		}
		p.direct = nil
	}
	return p.judgeByDryRun(ctx, c, current, j)
}

// adopt plans to take over an object that nobody manages, if the Application may
// write it.
func (p *Planned) adopt(ctx context.Context, c candidate, current *unstructured.Unstructured, j judgement) (judgement, error) {
	j, err := p.judgeByDryRun(ctx, c, current, j)
	if err == nil && j.change.Action.Writes() && mizzen.Worst(j.findings) != mizzen.Fatal {
		ref := c.object.Ref()
		j.find(mizzen.CodeAdopted, mizzen.Warning, fmt.Sprintf("%s exists and nobody manages it; the sync adopts it", ref),
			"check the differences; fields that Git does not name stay as they are")
	}
	return j, err
}

// judgeByDryRun asks the API server what the object would be.
func (p *Planned) judgeByDryRun(ctx context.Context, c candidate, current *unstructured.Unstructured, j judgement) (judgement, error) {
	after, err := p.target.Destination.Writer.DryRun(ctx, c.object, current)
	switch {
	case errors.Is(err, apply.ErrImmutable) && j.change.Options.Replace:
		j.change.Action, j.change.Reason = mizzen.Replace, "a field cannot be changed in place, and the object asks to be replaced (Replace=true)"
		j.change.NotVerified = "an object that is replaced is not dry-run"
		return j, nil
	case mizzen.KindOf(err) == mizzen.Invalid && p.displace(ctx, c, current, &j):
		return j, nil
	case err != nil:
		return p.unverified(j, err)
	}
	settled := apply.Settle(c.object, current, p.manager())
	j.change = p.compareObject(c, current, after, "", settled.Release...)
	// What is applied lacks the fields that were handed over: to apply them
	// with the value that they have would take a share of them back.
	j.change.Desired = &settled.Object
	p.handOver(settled, &j)
	p.strip(c, after, &j)
	j.managed, _ = live.ManagedHash(current.GetManagedFields(), p.manager())
	if j.change.Action == mizzen.None && current.GetDeletionTimestamp() != nil {
		// An earlier commit wanted that; who writes it waits for its end.
		j.change.Action, j.change.Reason = mizzen.Update, "it is being deleted, and is made anew when it is gone"
	}
	return j, nil
}

// handOver says which fields the sync leaves to a controller that took them, or
// that keep their value although they left Git.
func (p *Planned) handOver(settled apply.Settled, j *judgement) {
	for _, taken := range settled.LeftOut {
		j.find(mizzen.CodeHandedOver, mizzen.Info,
			fmt.Sprintf("%s belongs to %s, so the value in Git does not count", taken.Path, taken.Manager),
			"remove the field from Git")
	}
	for _, path := range settled.Release {
		j.find(mizzen.CodeHandedOver, mizzen.Info, fmt.Sprintf("%s left Git and keeps its value", path), "")
	}
}

// codeOf returns the code of what an API server says against an object.
func codeOf(err error) mizzen.Code {
	if errors.Is(err, apply.ErrImmutable) {
		return mizzen.CodeImmutableField
	}
	return mizzen.CodeRefused
}

// strip plans to take away what strangers added to an object of an exclusive
// kind, and mentions what they added to others. It looks at the object as it
// is after the apply: a stranger who changed an element of an atomic list owns
// all of it until then.
func (p *Planned) strip(c candidate, after *unstructured.Unstructured, j *judgement) {
	ref := c.object.Ref()
	foreign := p.target.Destination.Cluster.Foreign(ref, after)
	if len(foreign) == 0 {
		return
	}
	if !p.exclusive(ref) || j.change.Options.Policy == mizzen.ApplyMerge {
		j.findings = append(j.findings, mentions(c.object, foreign)...)
		return
	}
	for _, f := range foreign {
		j.change.Strip = append(j.change.Strip, f.Path)
		j.change.Fields = append(j.change.Fields, f)
	}
	j.change.Action = mizzen.Update
}

// knows tells whether the object was applied before: then marks that it lacks
// were taken from it.
func (p *Planned) knows(ref mizzen.Ref) bool {
	_, known := p.target.Known[ref]
	return known
}

// mentions says of fields that others added to an object, and that stay, whose
// they are.
func mentions(o mizzen.Object, foreign []mizzen.FieldChange) []mizzen.Finding {
	findings := live.Findings(o.Ref(), foreign)
	for i := range findings {
		findings[i].Origin = o.Origins.Object
	}
	return findings
}

func (p *Planned) exclusive(ref mizzen.Ref) bool {
	return p.target.Destination.Cluster.Exclusive(ref.GroupKind()) || slices.Contains(p.target.Policy.Exclusive, ref.GroupKind())
}
