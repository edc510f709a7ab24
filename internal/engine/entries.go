package engine

import (
	"context"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/live"
)

// entry is what the metadata of a live object say.
type entry struct {
	owner   mizzen.Name
	managed string
	// foreign tells that a stranger owns fields of an exclusive kind.
	foreign bool
	// strangers are the fields of others that stay.
	strangers []mizzen.FieldChange
}

// entries returns the metadata of the candidates that the inventory knows:
// from the watch where there is one, else by asking. Others, and what is about
// to go, are absent, since they need a look at the whole object anyway.
func (p *Planned) entries(ctx context.Context, candidates []candidate) (map[mizzen.Ref]entry, error) {
	found := make(map[mizzen.Ref]entry, len(candidates))
	var ask []live.Target
	for _, c := range candidates {
		ref := c.object.Ref()
		if _, known := p.target.Known[ref]; !known {
			continue
		}
		watched, ok := p.watched(ref)
		if !ok {
			ask = append(ask, c.target())
			continue
		}
		found[ref] = watched
	}
	metadata, err := p.target.Destination.Cluster.Metadata(ctx, ask)
	if err != nil {
		return nil, err
	}
	for ref, o := range metadata {
		owner, ownership := p.target.Destination.Cluster.Owner(ref, o)
		if ownership != live.Ours || o.DeletionTimestamp != nil {
			continue
		}
		e := entry{owner: owner}
		e.managed, _ = live.ManagedHash(o.GetManagedFields(), p.manager())
		e.strangers = p.target.Destination.Cluster.Foreign(ref, o)
		if p.exclusive(ref) {
			e.foreign, e.strangers = len(e.strangers) > 0, nil
		}
		found[ref] = e
	}
	return found, nil
}

// watched returns what the watch knows of an object. ok is false if it cannot
// tell, and the object has to be asked for.
func (p *Planned) watched(ref mizzen.Ref) (e entry, ok bool) {
	w := p.target.Destination.Watcher
	if w == nil || !w.Synced(ref.GroupKind()) || p.target.Suspects[ref] || p.target.Recheck && p.exclusive(ref) {
		return entry{}, false
	}
	seen, exists := w.Lookup(ref)
	if !exists || seen.Deleting {
		return entry{}, true
	}
	if seen.Foreign && !p.exclusive(ref) {
		return entry{}, false // the watch does not keep which fields, and whose
	}
	return entry{owner: seen.Owner, managed: seen.Managed, foreign: seen.Foreign}, true
}
