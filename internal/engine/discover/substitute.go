package discover

import (
	"regexp"

	"mizzen.dev/mizzen"
)

// variable is ${name}, ${name:=default} or ${name:-default}; $${…} is a literal
// one. The form is that of https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution.
var variable = regexp.MustCompile(`\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(?::[=-]([^}]*))?\}`)

// SubstituteIn returns the object with variables replaced as Flux does after a
// build. A variable that is not set and has no default stays, since it may come
// from a cluster. An object can ask to be left alone.
func SubstituteIn(o mizzen.Object, variables map[string]string) mizzen.Object {
	if variables == nil || o.Unstructured == nil {
		return o
	}
	const off = "kustomize.toolkit.fluxcd.io/substitute"
	if o.GetAnnotations()[off] == "disabled" || o.GetLabels()[off] == "disabled" {
		return o
	}
	object, _ := replaced(o.Object, variables).(map[string]any)
	copied := *o.Unstructured
	copied.Object = object
	o.Unstructured = &copied
	return o
}

func replaced(value any, variables map[string]string) any {
	switch v := value.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, item := range v {
			m[k] = replaced(item, variables)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = replaced(item, variables)
		}
		return list
	case string:
		return variable.ReplaceAllStringFunc(v, func(s string) string { return valueOf(s, variables) })
	}
	return value
}

func valueOf(s string, variables map[string]string) string {
	if len(s) > 1 && s[1] == '$' {
		return s[1:]
	}
	groups := variable.FindStringSubmatch(s)
	if value, ok := variables[groups[1]]; ok {
		return value
	}
	if len(groups[0]) > len(groups[1])+len("${}") {
		return groups[2]
	}
	return s
}
