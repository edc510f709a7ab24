package mizzen

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Ownership is the set of fields that one field manager owns: an entry of
// metadata.managedFields in the form of FieldsV1, made to be asked.
type Ownership struct {
	Manager     string
	Operation   metav1.ManagedFieldsOperationType
	Subresource string
	// tree has the keys of FieldsV1: "f:name", `k:{"name":"x"}`, "v:value",
	// "i:0" and "." for the item itself. An empty node is an owned leaf.
	tree map[string]any
}

// OwnershipOf reads a managedFields entry. ok is false if it is malformed,
// which no API server writes.
func OwnershipOf(entry metav1.ManagedFieldsEntry) (o Ownership, ok bool) {
	o = Ownership{Manager: entry.Manager, Operation: entry.Operation, Subresource: entry.Subresource}
	if entry.FieldsV1 == nil {
		return o, false
	}
	return o, json.Unmarshal(entry.FieldsV1.GetRawBytes(), &o.tree) == nil
}

// OwnershipsOf reads the managedFields of an object, in its order.
func OwnershipsOf(u *unstructured.Unstructured) []Ownership {
	entries := u.GetManagedFields()
	owners := make([]Ownership, 0, len(entries))
	for _, entry := range entries {
		if o, ok := OwnershipOf(entry); ok {
			owners = append(owners, o)
		}
	}
	return owners
}

// Paths returns the owned leaf fields as paths of u, sorted. A list element is
// found by its merge key, so u may be another state of the object than the one
// that the entry was written for; what u does not have is left out.
func (o Ownership) Paths(u *unstructured.Unstructured) []Path {
	var paths []Path
	ownedPaths(o.tree, u.Object, "", &paths)
	slices.Sort(paths)
	return slices.Compact(paths)
}

func ownedPaths(node map[string]any, value any, at Path, paths *[]Path) {
	leaf := true
	for key, child := range node {
		sub, ok := child.(map[string]any)
		if !ok || key == "." {
			continue
		}
		leaf = false
		descend(key, value, at, func(p Path, v any) { ownedPaths(sub, v, p, paths) })
	}
	if leaf && at != "" {
		*paths = append(*paths, at)
	}
}

// descend calls visit for the parts of value that a key of FieldsV1 names.
func descend(key string, value any, at Path, visit func(Path, any)) {
	kind, name, _ := strings.Cut(key, ":")
	switch v := value.(type) {
	case map[string]any:
		if item, ok := v[name]; ok && kind == "f" {
			visit(at.Key(name), item)
		}
	case []any:
		for i, item := range v {
			if selects(kind, name, i, item) {
				visit(at.Index(i), item)
			}
		}
	}
}

func selects(kind, name string, index int, item any) bool {
	switch kind {
	case "i":
		return name == strconv.Itoa(index)
	case "v":
		b, err := json.Marshal(item)
		return err == nil && string(b) == name
	case "k":
		var want map[string]any
		if json.Unmarshal([]byte(name), &want) != nil {
			return false
		}
		return hasKeys(item, want)
	}
	return false
}

// hasKeys tells whether a list element has the given merge key. A part of the
// key that the element leaves out is a default of the API server's, such as
// protocol TCP; one part at least must be there.
func hasKeys(item any, want map[string]any) bool {
	element, ok := item.(map[string]any)
	if !ok {
		return false
	}
	found := false
	for k, w := range want {
		got, ok := element[k]
		if !ok {
			continue
		}
		a, errA := json.Marshal(got)
		b, errB := json.Marshal(w)
		if errA != nil || errB != nil || string(a) != string(b) {
			return false
		}
		found = true
	}
	return found
}

// Missing yields the owned fields that one state of an object has and another
// has not, each with its value and its path in the former; of a subtree only
// the topmost field. Order: by path.
func (o Ownership) Missing(has, lacks map[string]any) iter.Seq2[Path, any] {
	found := map[Path]any{}
	missing(o.tree, has, "", lacks, found)
	return func(yield func(Path, any) bool) {
		for _, p := range slices.Sorted(maps.Keys(found)) {
			if !yield(p, found[p]) {
				return
			}
		}
	}
}

func missing(node map[string]any, has any, at Path, lacks any, found map[Path]any) {
	for key, child := range node {
		sub, ok := child.(map[string]any)
		if !ok || key == "." {
			continue
		}
		descend(key, has, at, func(p Path, value any) {
			var other any
			descend(key, lacks, "", func(_ Path, v any) { other = v })
			if other == nil {
				found[p] = value
				return
			}
			missing(sub, value, p, other, found)
		})
	}
}

// Without returns a copy that does not own the given fields of u, nor anything
// below them.
func (o Ownership) Without(u *unstructured.Unstructured, paths ...Path) Ownership {
	drop := make(map[Path]bool, len(paths))
	for _, p := range paths {
		drop[p] = true
	}
	o.tree = without(o.tree, u.Object, "", drop)
	return o
}

func without(node map[string]any, value any, at Path, drop map[Path]bool) map[string]any {
	kept := maps.Clone(node)
	for key, child := range node {
		sub, ok := child.(map[string]any)
		if !ok || key == "." {
			continue
		}
		descend(key, value, at, func(p Path, v any) {
			if drop[p] {
				delete(kept, key)
				return
			}
			next := without(sub, v, p, drop)
			if len(next) == 0 && len(sub) > 0 {
				// An empty node would mean to own all of it.
				delete(kept, key)
				return
			}
			kept[key] = next
		})
	}
	return kept
}

// With returns a copy that also owns what from owns at the given fields of u,
// and below them.
func (o Ownership) With(from Ownership, u *unstructured.Unstructured, paths ...Path) Ownership {
	take := make(map[Path]bool, len(paths))
	for _, p := range paths {
		take[p] = true
	}
	o.tree = graft(o.tree, from.tree, u.Object, "", take)
	return o
}

func graft(node, from map[string]any, value any, at Path, take map[Path]bool) map[string]any {
	grown := maps.Clone(node)
	if grown == nil {
		grown = map[string]any{}
	}
	for key, child := range from {
		sub, ok := child.(map[string]any)
		if !ok || key == "." {
			continue
		}
		descend(key, value, at, func(p Path, v any) {
			if take[p] {
				grown[key] = sub
				return
			}
			mine, _ := grown[key].(map[string]any)
			if next := graft(mine, sub, v, p, take); len(next) > 0 {
				grown[key] = next
			}
		})
	}
	return grown
}

// FieldsV1 returns the set in the form of managedFields; nil if it is empty.
func (o Ownership) FieldsV1() *metav1.FieldsV1 {
	if len(o.tree) == 0 {
		return nil
	}
	raw, err := json.Marshal(o.tree)
	if err != nil {
		return nil // cannot be: the tree was read from JSON
	}
	return metav1.NewFieldsV1(string(raw))
}
