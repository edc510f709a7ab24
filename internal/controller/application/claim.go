package application

import (
	"slices"

	"mizzen.dev/mizzen"
)

// claim notes the objects that the Application wants and others have. It tells
// whether something has been let go since the plan looked: then the owners may
// be other ones by now, and nobody will tell.
func (x *run) claim() (outdated bool) {
	if x.planned == nil {
		return false
	}
	claims := map[mizzen.Ref]bool{}
	for _, f := range x.planned.Findings {
		if f.Code == mizzen.CodeOwnedByAnother {
			claims[f.Ref] = true
		}
	}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	x.m.wanted = claims
	return x.letGo.Load() != x.letGoBefore
}

// wakeClaimants lets the Applications try again that want an object which has
// just been let go.
func (r *Reconciler) wakeClaimants(written []mizzen.Change) {
	freed := slices.DeleteFunc(slices.Clone(written), func(c mizzen.Change) bool {
		return c.Action != mizzen.Delete && c.Action != mizzen.Keep
	})
	if len(freed) == 0 {
		return
	}
	r.letGo.Add(1)
	for name, m := range r.memories.snapshot() {
		if m.takeClaims(freed) {
			m.unsettle()
			r.enqueue(name)
		}
	}
}

// takeClaims tells whether one of the changes frees what is waited for, and
// forgets the claims if so.
func (m *memory) takeClaims(freed []mizzen.Change) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(freed, func(c mizzen.Change) bool { return m.wanted[c.Ref] }) {
		return false
	}
	m.wanted = nil
	return true
}
