package live

import (
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"mizzen.dev/mizzen"
)

// resolve finds the field of a full object that a path of managedFields means,
// and writes the path with indexes. ok is false if the object does not have it.
func resolve(content map[string]any, path fieldpath.Path) (p mizzen.Path, v any, ok bool) {
	v = any(content)
	for _, pe := range path {
		if pe.FieldName != nil {
			m, isMap := v.(map[string]any)
			if v, ok = m[*pe.FieldName]; !isMap || !ok {
				return "", nil, false
			}
			p = p.Key(*pe.FieldName)
			continue
		}
		list, _ := v.([]any)
		i := indexOf(list, pe)
		if i < 0 {
			return "", nil, false
		}
		v, p = list[i], p.Index(i)
	}
	return p, v, len(path) > 0
}

// indexOf returns the index of the element that pe names, -1 if there is none.
func indexOf(list []any, pe fieldpath.PathElement) int {
	for i, item := range list {
		switch {
		case pe.Index != nil && *pe.Index == i,
			pe.Value != nil && value.Equals(value.NewValueInterface(item), *pe.Value),
			pe.Key != nil && hasKey(item, *pe.Key):
			return i
		}
	}
	return -1
}

// hasKey tells whether a list element has all of the key's fields. A field that
// the element leaves out (a port's protocol) is one that the server defaults.
func hasKey(item any, key value.FieldList) bool {
	m, ok := item.(map[string]any)
	if !ok {
		return false
	}
	for _, f := range key {
		if v, present := m[f.Name]; present && !value.Equals(value.NewValueInterface(v), f.Value) {
			return false
		}
	}
	return true
}
