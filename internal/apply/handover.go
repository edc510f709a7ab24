package apply

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"mizzen.dev/mizzen"
)

// Taken is a field that Git names and a known controller has taken over.
type Taken struct {
	Path    mizzen.Path
	Manager string
}

// Settled is an object as it is to be applied beside the controllers that own
// some of its fields.
type Settled struct {
	// Object lacks the fields that are left out.
	Object mizzen.Object
	// LeftOut are those fields, sorted by path.
	LeftOut []Taken
	// Release are fields of the live object that left Git and keep their value
	// (Change.Release); we are their only owner.
	Release []mizzen.Path
}

// keptOnRemoval are fields that keep their value when they leave Git: under
// server-side apply they would fall back to a default, and a Deployment whose
// replicas move from Git to an autoscaler would drop to one pod.
var keptOnRemoval = []mizzen.Path{"spec.replicas"}

// Settle decides which fields of an object are handed over, from what the live
// object's managedFields say; it is pure. A nil live object leaves everything
// as it is. The metadata of the live object is enough, but for Release.
func Settle(obj mizzen.Object, live *unstructured.Unstructured, manager string) Settled {
	s := Settled{Object: obj}
	if live == nil {
		return s
	}
	owners := mizzen.OwnershipsOf(live)
	gk := obj.GroupVersionKind().GroupKind()
	for _, o := range owners {
		// Another installation of Mizzen is no controller of the field.
		if ours(o, manager) || strings.HasPrefix(o.Manager, "mizzen") {
			continue
		}
		for _, p := range o.Paths(obj.Unstructured) {
			if mizzen.HandedOver(gk, p, o.Manager) {
				s.LeftOut = append(s.LeftOut, Taken{whole(obj, p, o.Manager), o.Manager})
			}
		}
	}
	slices.SortFunc(s.LeftOut, func(a, b Taken) int { return mizzen.ComparePaths(a.Path, b.Path) })
	s.LeftOut = slices.CompactFunc(s.LeftOut, func(a, b Taken) bool { return a.Path == b.Path })
	if len(s.LeftOut) > 0 {
		s.Object = without(obj, s.LeftOut)
	}
	s.Release = released(obj, live, owners, manager)
	return s
}

// ours tells whether an entry is that of our applies.
func ours(o mizzen.Ownership, manager string) bool {
	return o.Manager == manager && o.Operation == metav1.ManagedFieldsOperationApply && o.Subresource == ""
}

// whole climbs from an owned leaf to the element or field that is handed over
// with it: a token controller's secrets[0].name means secrets[0].
func whole(obj mizzen.Object, p mizzen.Path, manager string) mizzen.Path {
	gk := obj.GroupVersionKind().GroupKind()
	for {
		steps := p.Steps()
		parent := p.Parent()
		if steps[len(steps)-1].Index >= 0 || parent == "" || !mizzen.HandedOver(gk, parent, manager) {
			return p
		}
		p = parent
	}
}

func released(obj mizzen.Object, live *unstructured.Unstructured, owners []mizzen.Ownership, manager string) []mizzen.Path {
	i := slices.IndexFunc(owners, func(o mizzen.Ownership) bool { return ours(o, manager) })
	if i < 0 {
		return nil
	}
	var paths []mizzen.Path
	for p := range owners[i].Missing(live.Object, obj.Object) {
		shared := slices.ContainsFunc(owners, func(o mizzen.Ownership) bool {
			return !ours(o, manager) && slices.Contains(o.Paths(live), p)
		})
		if slices.Contains(keptOnRemoval, p) && !shared {
			paths = append(paths, p)
		}
	}
	return paths
}

// without returns a copy of the object that lacks the given fields.
func without(obj mizzen.Object, taken []Taken) mizzen.Object {
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(obj.Object)}
	// From the back, so that the indexes of what remains to be done still hold.
	for _, t := range slices.Backward(taken) {
		removeField(u.Object, t.Path)
	}
	return mizzen.Object{Unstructured: u, Origins: obj.Origins}
}

func removeField(object map[string]any, p mizzen.Path) {
	steps := p.Steps()
	if len(steps) == 0 {
		return
	}
	parent, ok := p.Parent().Lookup(object)
	if !ok {
		return
	}
	last := steps[len(steps)-1]
	switch holder := parent.(type) {
	case map[string]any:
		delete(holder, last.Key)
	case []any:
		if last.Index < len(holder) {
			setField(object, p.Parent(), slices.Delete(holder, last.Index, last.Index+1))
		}
	}
}

// setField writes a value at a path whose parent exists.
func setField(object map[string]any, p mizzen.Path, value any) {
	steps := p.Steps()
	parent, ok := p.Parent().Lookup(object)
	if !ok || len(steps) == 0 {
		return
	}
	last := steps[len(steps)-1]
	switch holder := parent.(type) {
	case map[string]any:
		holder[last.Key] = value
	case []any:
		if last.Index < len(holder) {
			holder[last.Index] = value
		}
	}
}

// withReleased returns the object with the live values of the fields that are
// to be released: this is what the server will have after both steps.
func (s Settled) withReleased(live *unstructured.Unstructured) mizzen.Object {
	if len(s.Release) == 0 {
		return s.Object
	}
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.Object.Object)}
	for _, p := range s.Release {
		if value, ok := p.Lookup(live.Object); ok {
			setField(u.Object, p, value)
		}
	}
	return mizzen.Object{Unstructured: u, Origins: s.Object.Origins}
}
