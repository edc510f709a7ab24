package effect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// backendless says why a route has no backend, in the place of istiod's name for it.
func (m *meeting) backendless(words string, f fate, objects map[mizzen.Ref]mizzen.Object) string {
	const told = "the backend of the rule is not there, or no ReferenceGrant lets the rule refer to it"
	if !strings.Contains(words, told) {
		return words
	}
	rule, _ := traffic.RuleOfRoute(f.Route)
	return strings.ReplaceAll(words, told, cmp.Or(notGranted(objects, rule.Ref), told))
}

// notGranted names the first backend of another namespace that no ReferenceGrant
// lets a route refer to; empty if there is none.
func notGranted(objects map[mizzen.Ref]mizzen.Object, route mizzen.Ref) string {
	o, there := objects[route]
	if !there {
		return ""
	}
	rules, _, err := unstructured.NestedSlice(o.Object, "spec", "rules")
	if err != nil {
		return ""
	}
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		backends, _, err := unstructured.NestedSlice(rule, "backendRefs")
		if err != nil {
			continue
		}
		for _, b := range backends {
			backend, _ := b.(map[string]any)
			namespace, _ := backend["namespace"].(string)
			name, _ := backend["name"].(string)
			if namespace != "" && namespace != route.Namespace && !granted(objects, route, namespace, name) {
				return fmt.Sprintf("no ReferenceGrant in %s lets %s of %s refer to the Service %s", namespace, route.Kind, route.Namespace, name)
			}
		}
	}
	return ""
}

// granted tells whether a ReferenceGrant of a namespace lets a route refer to a
// Service of it.
// https://gateway-api.sigs.k8s.io/api-types/referencegrant/
func granted(objects map[mizzen.Ref]mizzen.Object, route mizzen.Ref, namespace, service string) bool {
	from := func(e map[string]any) bool { return e["kind"] == route.Kind && e["namespace"] == route.Namespace }
	to := func(e map[string]any) bool {
		name, _ := e["name"].(string)
		return e["kind"] == "Service" && (name == "" || name == service)
	}
	for ref, o := range objects {
		if ref.Kind == "ReferenceGrant" && ref.Namespace == namespace && lists(o, "from", from) && lists(o, "to", to) {
			return true
		}
	}
	return false
}

// lists tells whether an element of a list of an object's spec fits.
func lists(o mizzen.Object, field string, fits func(map[string]any) bool) bool {
	list, _, err := unstructured.NestedSlice(o.Object, "spec", field)
	return err == nil && slices.ContainsFunc(list, func(item any) bool {
		entry, ok := item.(map[string]any)
		return ok && fits(entry)
	})
}
