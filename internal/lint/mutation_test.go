package lint_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
)

// corpus reads valid objects: of testdata/valid, or of one of its files.
func corpus(t testing.TB, glob string) []mizzen.Object {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "valid", glob))
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus %s: %v", glob, err)
	}
	var objects []mizzen.Object
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, meshtest.Objects(t, string(b))...)
	}
	return objects
}

// mutation is one change of one field.
type mutation struct {
	path mizzen.Path
	// how is "unknown", "drop", "null", "type" or "value".
	how    string
	object map[string]any
}

// mutations changes every field of an object in every way, one at a time.
func mutations(object map[string]any) []mutation {
	var all []mutation
	var visit func(path []any, p mizzen.Path, v any)
	add := func(how string, path []any, p mizzen.Path, change func(parent any, key any)) {
		c := runtime.DeepCopyJSON(object)
		var parent any = c
		for _, key := range path[:len(path)-1] {
			parent = get(parent, key)
		}
		change(parent, path[len(path)-1])
		all = append(all, mutation{path: p, how: how, object: c})
	}
	visit = func(path []any, p mizzen.Path, v any) {
		if len(path) > 0 {
			for how, value := range changed(v) {
				add(how, path, p, func(parent, key any) { set(parent, key, value) })
			}
			if _, isKey := path[len(path)-1].(string); isKey {
				add("drop", path, p, func(parent, key any) { delete(parent.(map[string]any), key.(string)) })
			}
		}
		switch v := v.(type) {
		case map[string]any:
			add("unknown", append(slices.Clone(path), "bogusField"), p.Key("bogusField"), func(parent, key any) { set(parent, key, "x") })
			for _, key := range slices.Sorted(maps.Keys(v)) {
				visit(append(slices.Clone(path), key), p.Key(key), v[key])
			}
		case []any:
			for i := range v {
				visit(append(slices.Clone(path), i), p.Index(i), v[i])
			}
		}
	}
	visit(nil, "", object)
	return all
}

// changed returns what to put in the place of v.
func changed(v any) map[string]any {
	m := map[string]any{"null": nil}
	switch v.(type) {
	case map[string]any:
		m["type"], m["type of list"] = "text", []any{"text"}
	case []any:
		m["type"], m["type of map"], m["item"] = "text", map[string]any{"text": "text"}, []any{nil}
	case string:
		m["type"], m["type of map"], m["type of bool"], m["value"] = int64(7), map[string]any{}, true, "Zz bogus!"
		m["empty"] = ""
	case bool:
		m["type"] = "maybe"
	case int64, float64:
		m["type"], m["type of fraction"], m["value"], m["large"] = "seven", 1.5, int64(-1), int64(70_000_000_000)
	}
	return m
}

func get(parent, key any) any {
	if i, ok := key.(int); ok {
		return parent.([]any)[i]
	}
	return parent.(map[string]any)[key.(string)]
}

func set(parent, key, value any) {
	if i, ok := key.(int); ok {
		parent.([]any)[i] = value
		return
	}
	parent.(map[string]any)[key.(string)] = value
}
