package diff

import (
	"mizzen.dev/mizzen"
)

// approximate compares without the API server's help: what Git names against
// what the cluster has. Defaults are not known, so a field that Git does not
// name is not judged, unless we own it: then it left Git and will go away.
func (w *walker) approximate() {
	want := contentOf(w.desired.Unstructured)
	have := contentOf(w.live)
	w.overlay(spot{"", have}, spot{"", want})
	w.leftGit(have)
}

// overlay walks along want only.
func (w *walker) overlay(have, want spot) {
	switch v := want.value.(type) {
	case nil:
		return
	case map[string]any:
		if h, ok := have.value.(map[string]any); ok || have.value == nil && len(v) > 0 {
			for k := range v {
				w.overlay(spot{have.at.Key(k), h[k]}, want.key(k))
			}
			return
		}
	case []any:
		if h, ok := have.value.([]any); ok && w.overlayList(h, v, have, want) {
			return
		}
	}
	if !equalValue(have.value, want.value) {
		w.add(have, spot{want.at, want.value}, want)
	}
}

// overlayList walks a list whose elements have keys, or both sides as many.
func (w *walker) overlayList(h, v []any, have, want spot) bool {
	pairs := pairLists(v, h)
	_, keyed := pairedByKey(v, h)
	if !keyed && len(v) != len(h) {
		return false
	}
	for _, p := range pairs {
		if p.before < 0 {
			continue // somebody else's element
		}
		other := spot{at: have.at.Index(p.before)}
		if p.after >= 0 {
			other = spot{have.at.Index(p.after), h[p.after]}
		}
		w.overlay(other, spot{want.at.Index(p.before), v[p.before]})
	}
	return true
}

func pairedByKey(a, b []any) (keys []string, ok bool) {
	for _, keys := range likelyKeys {
		_, okA := keyIndex(a, keys)
		_, okB := keyIndex(b, keys)
		if okA && okB {
			return keys, true
		}
	}
	return nil, false
}

// leftGit finds fields that we own and Git no longer names.
func (w *walker) leftGit(have map[string]any) {
	for _, o := range mizzen.OwnershipsOf(w.live) {
		if !ours(o.Manager, o.Operation, o.Subresource, w.options.Manager) {
			continue
		}
		for p, value := range o.Missing(w.live.Object, w.desired.Object) {
			if _, kept := have[string(p)]; kept || p.Parent() != "" {
				w.add(spot{p, value}, spot{at: p}, spot{at: p})
			}
		}
	}
}
