package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// mutate changes, deletes or adds one field in place, and says which.
func mutate(r *rand.Rand, object map[string]any) string {
	var places []place
	survey(object, nil, &places)
	p := places[r.IntN(len(places))]
	switch op := r.IntN(4); {
	case op == 0 && p.remove != nil:
		p.remove()
		return "delete " + p.path
	case op == 1 && p.add != nil:
		p.add()
		return "add to " + p.path
	case p.change != nil:
		p.change()
		return "change " + p.path
	case p.add != nil:
		p.add()
		return "add to " + p.path
	}
	p.remove()
	return "delete " + p.path
}

// place is where an object can be edited.
type place struct {
	path                string
	change, remove, add func()
}

// identity are fields that make another object, or that nobody may edit.
var identity = []string{
	"apiVersion", "kind", "status", "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion",
	"metadata.generation", "metadata.creationTimestamp", "metadata.managedFields", "metadata.finalizers",
	"metadata.annotations.deployment.kubernetes.io/revision",
}

// survey finds the places of a value.
func survey(value any, path []string, places *[]place) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			sub := append(slices.Clone(path), key)
			if name := strings.Join(sub, "."); !slices.Contains(identity, name) {
				*places = append(*places, fieldPlace(v, key, name))
				survey(v[key], sub, places)
			}
		}
	case []any:
		for i := range v {
			survey(v[i], append(slices.Clone(path), fmt.Sprint(i)), places)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// fieldPlace says how a field of a map can be edited.
func fieldPlace(m map[string]any, key, name string) place {
	p := place{path: name, remove: func() { delete(m, key) }}
	if name == "metadata" || name == "metadata.labels" || name == "metadata.annotations" {
		p.remove = func() { delete(m[key].(map[string]any), "mizzen.dev/owner") }
	}
	switch v := m[key].(type) {
	case string:
		p.change = func() { m[key] = v + "x" }
	case int64:
		p.change = func() { m[key] = v + 1 }
	case float64:
		p.change = func() { m[key] = v + 1 }
	case bool:
		p.change = func() { m[key] = !v }
	case map[string]any:
		p.add = func() { v["fuzz"] = "fuzz" }
	case []any:
		p.add = func() { m[key] = append(v, another(v)) }
	}
	return p
}

// another is one more element of a list.
func another(list []any) any {
	if len(list) == 0 {
		return "fuzz"
	}
	last, ok := list[len(list)-1].(map[string]any)
	if !ok {
		return "fuzz"
	}
	one := (&unstructured.Unstructured{Object: last}).DeepCopy().Object
	if _, named := one["name"]; named {
		one["name"] = "fuzz"
	}
	return one
}
