package lint

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen/internal/lint/schemas"
)

// Scope tells without a cluster whether objects of a kind live in a namespace,
// whatever the version. Only kinds of the built-in schemas are known.
func Scope(kind schema.GroupKind) (namespaced, known bool) {
	namespaced, known = scopes()[kind]
	return namespaced, known
}

var scopes = sync.OnceValue(func() map[schema.GroupKind]bool {
	archives, err := schemas.Archives()
	if err != nil {
		return nil // Check says so
	}
	all := map[schema.GroupKind]bool{}
	for _, a := range archives {
		for _, k := range a.Kinds() {
			all[k.GroupVersionKind().GroupKind()] = k.Namespaced
		}
	}
	return all
})
