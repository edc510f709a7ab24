package engine

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/live"
)

// Removal plans what becomes of everything that was applied for an Application
// that is deleted: each object is deleted, or left behind if it asks for it,
// or if orphan says so for all.
func (e *Engine) Removal(ctx context.Context, t Target, orphan bool) (*Planned, error) {
	p := &Planned{
		Plan: &mizzen.Plan{
			Schema: mizzen.PlanSchema, Application: t.Name, Cluster: t.Destination.Name,
		},
		target: t, kept: Inventory{},
	}
	gone, err := p.judgeGone(ctx, t.applied(), func(o mizzen.SyncOptions) (mizzen.Action, string) {
		switch {
		case orphan:
			return mizzen.Keep, "the Application orphans its objects (spec.onDelete)"
		case o.KeepOnDelete:
			return mizzen.Keep, "it asks to outlive its Application (Delete=false)"
		}
		return mizzen.Delete, ""
	})
	if err != nil {
		return nil, &StageError{StageRead, err}
	}
	p.Changes = gone
	p.finish()
	return p, nil
}

// applied returns what was applied, with the version: the inventory, and what
// a crash kept out of it.
func (t Target) applied() map[mizzen.Ref]string {
	all := map[mizzen.Ref]string{}
	if w := t.Destination.Watcher; w != nil {
		for _, owned := range w.Owned(t.Name) {
			all[owned.Ref()] = owned.Kind.Version
		}
	}
	for ref, known := range t.Known {
		all[ref] = known.Version
	}
	return all
}

// prune plans what happens to objects that were applied and are not rendered
// any more: those of the inventory, and those that a crash kept out of it.
func (p *Planned) prune(ctx context.Context) ([]mizzen.Change, error) {
	gone := p.target.applied()
	maps.DeleteFunc(gone, func(ref mizzen.Ref, _ string) bool {
		_, rendered := p.objects[ref]
		return rendered
	})
	if len(gone) == 0 {
		return nil, nil
	}
	return p.judgeGone(ctx, gone, func(o mizzen.SyncOptions) (mizzen.Action, string) {
		switch {
		case o.KeepOnPrune:
			return mizzen.Keep, "it left Git, but asks not to be pruned (Prune=false)"
		case !p.target.Policy.Prune:
			return mizzen.Skip, "it left Git, but the Application does not prune (spec.sync.prune)"
		}
		return mizzen.Delete, ""
	})
}

// judgeGone plans what decide says for the objects that are still ours.
func (p *Planned) judgeGone(ctx context.Context, gone map[mizzen.Ref]string, decide func(mizzen.SyncOptions) (mizzen.Action, string)) ([]mizzen.Change, error) {
	targets := make([]live.Target, 0, len(gone))
	for ref, version := range gone {
		targets = append(targets, live.Target{
			Kind:      schema.GroupVersionKind{Group: ref.Group, Version: version, Kind: ref.Kind},
			Namespace: ref.Namespace, Name: ref.Name,
		})
	}
	metadata, err := p.target.Destination.Cluster.Metadata(ctx, targets)
	if err != nil {
		return nil, err
	}
	var changes []mizzen.Change
	for ref, o := range metadata {
		owner, ownership := p.target.Destination.Cluster.Owner(ref, o)
		if ownership != live.Ours || owner != p.target.Name || o.DeletionTimestamp != nil {
			continue // somebody took it over, or it is on its way out
		}
		options, _ := mizzen.OptionsOfAnnotations(o.Annotations)
		c := mizzen.Change{
			Ref: ref, UID: string(o.UID), Options: options, Wave: options.Wave,
			APIVersion: schema.GroupVersion{Group: ref.Group, Version: gone[ref]}.String(),
		}
		c.Action, c.Reason = decide(options)
		if c.Action != mizzen.Delete {
			p.Findings = append(p.Findings, mizzen.Finding{Code: mizzen.CodeKept, Severity: mizzen.Warning, Ref: ref, Message: c.Reason})
		}
		if known, ok := p.target.Known[ref]; ok && c.Action == mizzen.Skip {
			p.kept[ref] = known
		}
		changes = append(changes, c)
	}
	return changes, nil
}
