package e2e

import (
	"encoding/json"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// content is what an edit may be about and somebody may restore.
func content(o *unstructured.Unstructured) map[string]any {
	c := o.DeepCopy()
	delete(c.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"} {
		unstructured.RemoveNestedField(c.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(c.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
	return c.Object
}

// ours is the content of an object without the labels and annotations that
// Mizzen did not set: those are somebody else's, and nobody needs to be told.
func ours(o, applied *unstructured.Unstructured) map[string]any {
	c := content(o)
	for _, field := range []string{"labels", "annotations"} {
		all, _, _ := unstructured.NestedStringMap(c, "metadata", field)
		maps.DeleteFunc(all, func(key, _ string) bool { return !sets(applied, "f:metadata", "f:"+field, "f:"+key) })
		unstructured.RemoveNestedField(c, "metadata", field)
		if len(all) > 0 {
			_ = unstructured.SetNestedStringMap(c, all, "metadata", field)
		}
	}
	return c
}

// sets tells whether Mizzen set a field, by a path in managedFields.
func sets(o *unstructured.Unstructured, path ...string) bool {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != "mizzen" || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, found, _ := unstructured.NestedFieldNoCopy(fields, path...); found {
			return true
		}
	}
	return false
}
