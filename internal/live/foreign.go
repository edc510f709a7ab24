package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"mizzen.dev/mizzen"
)

// maxForeign bounds the fields that are named of one object. Somebody who adds
// a thousand keys is told of the first ones.
const maxForeign = 32

// foreignField is a field that somebody else added: we own nothing at or below
// path, and nothing above it is wholly theirs.
type foreignField struct {
	manager string
	path    fieldpath.Path
}

// Foreign returns the fields that somebody else added to an object of ours,
// outside of its metadata and status and except for those that were handed
// over, sorted by path. If o is an unstructured.Unstructured, Before is the
// value (except in Secrets), the path holds the indexes of list elements, and
// fields that the object does not have are left out; of metadata alone, the
// path names elements by their keys. Whether the fields are to be taken away
// says Exclusive; for others see Findings.
func (c *Cluster) Foreign(ref mizzen.Ref, o metav1.Object) []mizzen.FieldChange {
	fields := parse(ref.GroupKind(), o.GetManagedFields(), c.manager).foreign()
	full, isFull := o.(*unstructured.Unstructured)
	changes := make([]mizzen.FieldChange, 0, len(fields))
	for _, f := range fields {
		path, value := pathOf(f.path), any(nil)
		if isFull {
			var ok bool
			if path, value, ok = resolve(full.Object, f.path); !ok {
				continue
			}
		}
		if ref.Group == "" && ref.Kind == "Secret" {
			value = nil
		}
		changes = append(changes, mizzen.FieldChange{Path: path, Before: value, Manager: f.manager})
	}
	slices.SortStableFunc(changes, func(a, b mizzen.FieldChange) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Manager, b.Manager))
	})
	return changes
}

// Findings says of foreign fields that stay: what was added, and by whom. A
// container, a variable or a volume is a warning, anything else information.
func Findings(ref mizzen.Ref, foreign []mizzen.FieldChange) []mizzen.Finding {
	findings := make([]mizzen.Finding, 0, len(foreign))
	for _, f := range foreign {
		severity := mizzen.Info
		if runsCode(f.Path) {
			severity = mizzen.Warning
		}
		findings = append(findings, mizzen.Finding{
			Code: mizzen.CodeForeignField, Severity: severity, Ref: ref, Path: f.Path,
			Message: fmt.Sprintf("%s added %s, which is not in Git", f.Manager, f.Path),
			Remedy:  "put the field into Git or remove it from the object; a kind listed in spec.sync.exclusive loses such fields",
		})
	}
	return findings
}

// runsCode tells whether a field changes what runs in a pod.
func runsCode(p mizzen.Path) bool {
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers", "env", "envFrom", "volumes", "volumeMounts", "command", "args"} {
		if _, rest, ok := strings.Cut("."+string(p), "."+list); ok && (rest == "" || rest[0] == '[' || rest[0] == '.') {
			return true
		}
	}
	return false
}

// parsed is what managedFields say, apart from our own entry's hash.
type parsed struct {
	gk        schema.GroupKind
	ours      *fieldpath.Set
	hash      uint64 // of our entry
	has       bool   // whether there is one
	strangers []stranger
}

type stranger struct {
	entry *metav1.ManagedFieldsEntry
	// added is what they own and we do not.
	added *fieldpath.Set
}

// parse reads managedFields as they came from a server. An entry that cannot
// be read counts as if it were not there.
func parse(gk schema.GroupKind, entries []metav1.ManagedFieldsEntry, manager string) *parsed {
	p := &parsed{gk: gk, ours: &fieldpath.Set{}}
	if own := ownEntry(entries, manager); own != nil {
		if set, err := fieldsOf(own); err == nil {
			p.ours, p.has, p.hash = set, true, entryHash(own, set)
		}
	}
	for i := range entries {
		e := &entries[i]
		// What admission webhooks add to our own requests is booked on our
		// manager as an update.
		if e.Manager == manager || e.Subresource == "status" {
			continue
		}
		if set, err := fieldsOf(e); err == nil {
			p.strangers = append(p.strangers, stranger{e, set.Difference(p.ours)})
		}
	}
	return p
}

// foreign returns what strangers added outside of metadata and status.
func (p *parsed) foreign() []foreignField {
	var out []foreignField
	for _, s := range p.strangers {
		out = p.collect(out, s, func(path fieldpath.Path) bool {
			return !inMetadata(path) && !mizzen.HandedOver(p.gk, pathOf(path), s.entry.Manager)
		})
	}
	return out
}

// latest returns the managers that wrote last, and what they own beyond us:
// who most likely made the change that was just seen. Times have a resolution
// of a second, so it may be more than one.
func (p *parsed) latest() []foreignField {
	var newest *metav1.Time
	for _, s := range p.strangers {
		if t := s.entry.Time; t != nil && newest.Before(t) {
			newest = t
		}
	}
	var out []foreignField
	for _, s := range p.strangers {
		if newest != nil && (s.entry.Time == nil || s.entry.Time.Before(newest)) {
			continue
		}
		before := len(out)
		out = p.collect(out, s, func(fieldpath.Path) bool { return true })
		if len(out) == before {
			// They only deleted, so no field tells of them.
			out = append(out, foreignField{manager: s.entry.Manager})
		}
	}
	return out
}

// collect adds the topmost paths of a stranger's fields that keep wants.
func (p *parsed) collect(out []foreignField, s stranger, keep func(fieldpath.Path) bool) []foreignField {
	seen := make(map[string]bool)
	for path := range s.added.Leaves().All() {
		if inStatus(path) || holds(p.ours, path) || !keep(path) {
			continue
		}
		top := p.topmost(path)
		if name := top.String(); !seen[name] && len(out) < maxForeign {
			seen[name] = true
			out = append(out, foreignField{s.entry.Manager, top})
		}
	}
	return out
}

// topmost returns the shortest beginning of path below which we own nothing.
func (p *parsed) topmost(path fieldpath.Path) fieldpath.Path {
	set := p.ours
	for i, pe := range path {
		child, below := set.Children.Get(pe)
		if !below && !set.Members.Has(pe) {
			return path[:i+1].Copy()
		}
		if !below {
			// An empty map or list of ours, to which they added.
			return path[:min(i+2, len(path))].Copy()
		}
		set = child
	}
	return path.Copy()
}

// holds tells whether set has members below path: then path exists because of
// them, whoever claims it as well.
func holds(set *fieldpath.Set, path fieldpath.Path) bool {
	for _, pe := range path {
		child, ok := set.Children.Get(pe)
		if !ok {
			return false
		}
		set = child
	}
	return true
}

func inMetadata(path fieldpath.Path) bool { return startsWith(path, "metadata") }
func inStatus(path fieldpath.Path) bool   { return startsWith(path, "status") }

func startsWith(path fieldpath.Path, field string) bool {
	return len(path) > 0 && path[0].FieldName != nil && *path[0].FieldName == field
}

// handed returns, for each rule of hand-over, what the hash of our entry lacks
// because a controller took those fields.
func (p *parsed) handed() []uint64 {
	var rules []string
	var sums []uint64
	for _, s := range p.strangers {
		for path := range s.added.Leaves().All() {
			rule, ok := mizzen.HandOverOf(p.gk, pathOf(path), s.entry.Manager)
			if !ok {
				continue
			}
			i := slices.Index(rules, rule)
			if i < 0 {
				i, rules, sums = len(rules), append(rules, rule), append(sums, 0)
			}
			sums[i] += pathHash(path)
		}
	}
	return sums
}
