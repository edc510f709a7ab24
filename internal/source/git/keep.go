package git

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// keepPrefix is where commits are held that no branch may have any more: one
// ref per commit, however many Applications need it.
const keepPrefix = "refs/mizzen/keep/"

// keeper knows which commits are kept, and for whom.
type keeper struct {
	mu sync.Mutex
	// refs are the commits with a ref of ours; nil until it was looked.
	refs map[string]bool
	// holders maps who needs commits to the commits, sorted.
	holders map[string][]string
	// claims counts the holders of a commit.
	claims map[string]int
}

// Keep makes sure that the mirror does not lose these commits, whatever
// happens to the branches: they are what the holder, such as an Application,
// needs from now on, in the place of what it named before. Without commits
// the holder needs nothing any more. Only the first claim on a commit and the
// end of the last one cost a git command.
//
// It fails with Kind NotFound, and then changes nothing, if a commit is not in
// the mirror.
func (m *Mirror) Keep(ctx context.Context, holder string, commitIDs ...string) error {
	ids := slices.Compact(slices.Sorted(slices.Values(commitIDs)))
	for _, id := range ids {
		if _, err := m.find(ctx, id); err != nil {
			return err
		}
	}
	k := &m.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(ids) == 0 && len(k.holders[holder]) == 0 {
		return nil
	}
	if err := m.loadKept(ctx); err != nil {
		return err
	}
	before := k.holders[holder]
	k.claim(holder, ids)
	if err := m.updateKept(ctx, k.changes(before, ids)); err != nil {
		k.claim(holder, before)
		return err
	}
	return nil
}

// changes lists what to do to the refs once a holder needs other commits.
func (k *keeper) changes(before, after []string) (changes []string) {
	for _, id := range after {
		if !k.refs[id] {
			changes = append(changes, "update "+keepPrefix+id+" "+id)
		}
	}
	for _, id := range before {
		if k.claims[id] == 0 && k.refs[id] {
			changes = append(changes, "delete "+keepPrefix+id)
		}
	}
	return changes
}

// claim notes what a holder needs, in the place of what it needed before.
func (k *keeper) claim(holder string, ids []string) {
	if k.holders == nil {
		k.holders, k.claims = map[string][]string{}, map[string]int{}
	}
	for _, id := range ids {
		k.claims[id]++
	}
	for _, id := range k.holders[holder] {
		if k.claims[id]--; k.claims[id] == 0 {
			delete(k.claims, id)
		}
	}
	if k.holders[holder] = ids; len(ids) == 0 {
		delete(k.holders, holder)
	}
}

// ReleaseUnclaimed drops what earlier processes kept and nobody has named in
// a Keep since this one started. It is for when every holder has.
func (m *Mirror) ReleaseUnclaimed(ctx context.Context) error {
	k := &m.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := m.loadKept(ctx); err != nil {
		return err
	}
	var changes []string
	for _, id := range slices.Sorted(maps.Keys(k.refs)) {
		if k.claims[id] == 0 {
			changes = append(changes, "delete "+keepPrefix+id)
		}
	}
	return m.updateKept(ctx, changes)
}

// Kept lists the commits that are kept, sorted.
func (m *Mirror) Kept(ctx context.Context) ([]string, error) {
	k := &m.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := m.loadKept(ctx); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(k.refs)), nil
}

// loadKept looks which refs there are. The caller has the keeper's lock.
func (m *Mirror) loadKept(ctx context.Context) error {
	if m.keeper.refs != nil {
		return nil
	}
	if _, err := m.table(ctx); err != nil {
		return err
	}
	out, err := m.run.run(ctx, call{args: []string{"for-each-ref", "--format=%(refname)", keepPrefix}})
	if err != nil {
		return m.failed(err)
	}
	m.keeper.refs = map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if id := strings.TrimPrefix(strings.TrimSpace(line), keepPrefix); fullID(id) {
			m.keeper.refs[id] = true
		}
	}
	return nil
}

// updateKept carries out changes of refs, all or none. The caller has the
// keeper's lock.
func (m *Mirror) updateKept(ctx context.Context, changes []string) error {
	if len(changes) == 0 {
		return nil
	}
	// It must not be torn by a caller that gives up in the middle.
	ctx, cancel := m.bounded(context.WithoutCancel(ctx))
	defer cancel()
	input := []byte(strings.Join(changes, "\n") + "\n")
	if _, err := m.run.run(ctx, call{args: []string{"update-ref", "--stdin"}, stdin: input}); err != nil {
		m.keeper.refs = nil // look again what became of them
		return m.failed(fmt.Errorf("keep commits: %w", err))
	}
	for _, change := range changes {
		verb, rest, _ := strings.Cut(change, " ")
		id, _, _ := strings.Cut(strings.TrimPrefix(rest, keepPrefix), " ")
		if verb == "update" {
			m.keeper.refs[id] = true
		} else {
			delete(m.keeper.refs, id)
		}
	}
	return nil
}

// all returns what any holder needs.
func (k *keeper) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.claims))
}

// forget makes the next call look which refs there are.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refs = nil
}
