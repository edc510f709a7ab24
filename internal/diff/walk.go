package diff

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// walker descends into the two states of an object side by side, and into what
// Git says beside them, since a list element may stand at three indexes.
type walker struct {
	options CompareOptions
	desired mizzen.Object
	live    *unstructured.Unstructured
	secret  bool
	// owners maps owned fields of the live object to their manager; "" is us.
	// It is read when the first difference is found, since most have none.
	owners map[mizzen.Path]string
	fields []mizzen.FieldChange
}

// spot is a place in one state of an object. A value that is not there is nil.
type spot struct {
	at    mizzen.Path
	value any
}

func (s spot) key(name string) spot {
	m, _ := s.value.(map[string]any)
	return spot{s.at.Key(name), m[name]}
}

func newWalker(desired mizzen.Object, live *unstructured.Unstructured, o CompareOptions) *walker {
	return &walker{options: o, desired: desired, live: live, secret: isSecret(desired.Unstructured)}
}

// compare finds the differences from before to after.
func (w *walker) compare(before, after map[string]any) {
	w.walk(spot{"", before}, spot{"", after}, spot{"", w.desired.Object})
}

func (w *walker) walk(before, after, want spot) {
	if before.value == nil && after.value == nil {
		return
	}
	switch b := before.value.(type) {
	case map[string]any:
		if a, ok := after.value.(map[string]any); ok {
			w.walkMap(b, a, before, after, want)
			return
		}
	case []any:
		if a, ok := after.value.([]any); ok {
			w.walkList(b, a, before, after, want)
			return
		}
	}
	if w.opened(before, after, want) || equalValue(before.value, after.value) {
		return
	}
	w.add(before, after, want)
}

func (w *walker) walkMap(b, a map[string]any, before, after, want spot) {
	for k := range b {
		w.walk(before.key(k), after.key(k), want.key(k))
	}
	for k := range a {
		if _, both := b[k]; !both {
			w.walk(before.key(k), after.key(k), want.key(k))
		}
	}
}

// opened goes on into a map that only one side has where each of its entries
// is worth a line: labels, annotations, and data of ConfigMaps and Secrets.
func (w *walker) opened(before, after, want spot) bool {
	switch after.at {
	case "metadata", "metadata.labels", "metadata.annotations", "data", "stringData", "binaryData":
	default:
		return false
	}
	b, isMapB := before.value.(map[string]any)
	a, isMapA := after.value.(map[string]any)
	if before.value != nil && !isMapB || after.value != nil && !isMapA {
		return false
	}
	w.walkMap(b, a, before, after, want)
	return true
}

func (w *walker) walkList(b, a []any, before, after, want spot) {
	wanted, _ := want.value.([]any)
	pairs := pairLists(b, a)
	toWanted := indexesIn(a, wanted)
	for _, p := range pairs {
		sb := spot{at: before.at.Index(max(p.before, 0))}
		sa := spot{at: after.at.Index(max(p.after, 0))}
		sw := spot{at: want.at}
		if p.before >= 0 {
			sb.value = b[p.before]
		}
		if p.after >= 0 {
			sa.value = a[p.after]
			if i, ok := toWanted[p.after]; ok {
				sw = spot{want.at.Index(i), wanted[i]}
			}
		} else {
			sa.at = before.at.Index(p.before)
		}
		w.walk(sb, sa, sw)
	}
}

// add records one difference, with secrets hidden. A value that Git does not
// name, because a default or a webhook sets it, has no line.
func (w *walker) add(before, after, want spot) {
	f := mizzen.FieldChange{
		Path: after.at, Before: before.value, After: after.value,
		Origin: mizzen.Origin{File: w.desired.Origins.Object.File},
	}
	if before.value != nil {
		f.Manager = w.owner(before.at)
	}
	if after.value != nil && want.value != nil {
		f.Origin = w.desired.Origins.Of(want.at)
	}
	if secretField(w.secret, f.Path) {
		ref := w.desired.Ref()
		f.Before = w.options.Masker.mask(ref, f.Path, f.Before)
		f.After = w.options.Masker.mask(ref, f.Path, f.After)
	}
	w.fields = append(w.fields, f)
}

// owner returns who owns a field of the live object: "" if nobody does, or if
// we do.
func (w *walker) owner(at mizzen.Path) string {
	if w.owners == nil {
		w.owners = map[mizzen.Path]string{}
		for _, o := range mizzen.OwnershipsOf(w.live) {
			us := ours(o.Manager, o.Operation, o.Subresource, w.options.Manager)
			for _, p := range o.Paths(w.live) {
				if _, taken := w.owners[p]; us {
					w.owners[p] = ""
				} else if !taken {
					w.owners[p] = o.Manager
				}
			}
		}
	}
	// What is owned as a whole is listed once, for all below it.
	for p := at; p != ""; p = p.Parent() {
		if manager, ok := w.owners[p]; ok {
			return manager
		}
	}
	return ""
}

// equalValue compares JSON values; 1 and 1.0 are the same number.
func equalValue(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}
