package schema

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint/archive"
)

// metadata judges the syntax of labels and annotations.
func (w *walker) metadata(v map[string]any) {
	if labels, ok := stringMap(v["labels"]); ok {
		w.fieldErrors("labels", metav1validation.ValidateLabels(labels, nil))
	}
	if annotations, ok := stringMap(v["annotations"]); ok {
		w.fieldErrors("annotations", apivalidation.ValidateAnnotations(annotations, nil))
	}
}

// laxGroups let any name pass that can stand in a URL.
var laxGroups = []string{"rbac.authorization.k8s.io", "policy", "certificates.k8s.io"}

// name judges the name of an object. Kinds of Kubernetes have rules of their
// own; what is tested here holds for all of a group.
func (w *walker) name(k archive.Kind, object map[string]any) {
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if name == "" {
		return // a Finding of its own
	}
	judge := apivalidation.NameIsDNSSubdomain
	switch {
	case k.Custom:
	case slices.Contains(laxGroups, k.Group):
		judge = func(name string, _ bool) []string { return content.IsPathSegmentName(name) }
	case k.Group == "" && (k.Kind == "Namespace" || k.Kind == "Service"):
		judge = apivalidation.NameIsDNSLabel
	}
	w.at("metadata")
	w.at("name")
	for _, message := range judge(name, false) {
		w.invalid(name, "is not a name: %s", message)
	}
	w.back()
	w.back()
}

func (w *walker) fieldErrors(key string, errs field.ErrorList) {
	w.at(key)
	defer w.back()
	for _, err := range errs {
		w.report(mizzen.CodeInvalidValue, func(at mizzen.Path) (string, string) {
			return string(at) + ": " + err.Detail, ""
		})
	}
}

// stringMap returns v as a map of strings; ok is false if it is none, which is
// reported elsewhere.
func stringMap(v any) (map[string]string, bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return nil, false
	}
	out := make(map[string]string, len(m))
	for key, item := range m {
		s, ok := item.(string)
		if !ok {
			return nil, false
		}
		out[key] = s
	}
	return out, true
}
