package compile

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// Where two objects are for the same, istiod lets the older one win, and of two
// of one age the one whose name sorts first. Objects of a cluster have a time
// of creation, those of Git have none: what Git held before a change is taken to
// be older than them, and what the change brings comes last.
var (
	oldest   = time.Unix(0, 0)
	youngest = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)
)

// Newcomers returns the objects that a change brings, sorted: those of after
// that before does not have, of the kinds whose age istiod looks at.
func Newcomers(before, after []mizzen.Object) []mizzen.Ref {
	known := make(map[mizzen.Ref]bool, len(before))
	for _, o := range before {
		known[o.Ref()] = true
	}
	var out []mizzen.Ref
	for _, o := range after {
		if ref := o.Ref(); !known[ref] && aged(ref) {
			out = append(out, ref)
		}
	}
	slices.SortFunc(out, mizzen.CompareRefs)
	return out
}

func aged(r mizzen.Ref) bool {
	return strings.HasSuffix(r.Group, ".istio.io") || r.Group == gatewayGroup || r.Group == "networking.k8s.io" || r.Group == "" && r.Kind == "Service"
}

// rejuvenated returns objects with the new ones among them as young as can be.
// What has a time of creation keeps it.
func rejuvenated(objects []mizzen.Object, newcomers []mizzen.Ref) []mizzen.Object {
	if len(newcomers) == 0 {
		return objects
	}
	isNew := make(map[mizzen.Ref]bool, len(newcomers))
	for _, ref := range newcomers {
		isNew[ref] = true
	}
	out := slices.Clone(objects)
	for i, o := range objects {
		if created := o.GetCreationTimestamp(); isNew[o.Ref()] && created.IsZero() {
			out[i].Unstructured = bornLast(o.Unstructured)
		}
	}
	return out
}

// bornLast returns a copy of an object, which others may hold.
func bornLast(o *unstructured.Unstructured) *unstructured.Unstructured {
	content := maps.Clone(o.Object)
	metadata, _ := content["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	metadata["creationTimestamp"] = youngest.Format(time.RFC3339)
	content["metadata"] = metadata
	return &unstructured.Unstructured{Object: content}
}
