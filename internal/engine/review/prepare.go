package review

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/lint"
)

// scopes tells which kinds live in namespaces, by the definitions that the
// repository renders and the schemas that are built in.
type scopes map[schema.GroupKind]bool

func (s scopes) of(gvk schema.GroupVersionKind) (namespaced, known bool) {
	if namespaced, known = s[gvk.GroupKind()]; known {
		return namespaced, true
	}
	return lint.Scope(gvk)
}

// prepare gives the objects of both sides the form in which they are compared.
func (x *run) prepare(ctx context.Context) error {
	x.scopes = scopes{}
	for _, s := range []*side{x.before, x.after} {
		for _, d := range s.apps {
			for _, result := range d.results {
				x.scopes.learn(result.Output.Objects)
			}
		}
	}
	for _, s := range []*side{x.after, x.before} {
		for _, d := range s.apps {
			if err := ctx.Err(); err != nil {
				return err
			}
			if d.same() {
				d.objects, d.findings = d.twin.objects, d.twin.findings
				continue
			}
			if err := x.prepareOne(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// learn takes note of the kinds that CustomResourceDefinitions define.
func (s scopes) learn(objects []mizzen.Object) {
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
		s[schema.GroupKind{Group: group, Kind: kind}] = scope == "Namespaced"
	}
}

func (x *run) prepareOne(d *deployed) error {
	var objects []mizzen.Object
	for i, result := range d.results {
		d.findings = append(d.findings, result.Output.Findings...)
		for _, o := range result.Output.Objects {
			if d.Select.Selects(d.Parts[i].Options.Path, o.Origins.Object.File) {
				objects = append(objects, discover.SubstituteIn(o, d.Substitute))
			}
		}
	}
	namespace := d.Namespace
	if namespace == "" {
		namespace = "default"
	}
	prepared, findings, err := diff.Prepare(objects, diff.PrepareOptions{
		Application: mizzen.Name{Namespace: d.Ref.Namespace, Name: d.Ref.Name}, Namespace: namespace, Scope: x.scopes.of,
	})
	if err != nil {
		return err
	}
	for _, o := range prepared {
		unmark(o)
	}
	mizzen.SortObjects(prepared)
	d.objects, d.findings = prepared, append(d.findings, findings...)
	return nil
}

// unmark takes away what marks an object as ours: there is no cluster to own it
// in, and other tools deploy it without. Prepare has made these maps.
func unmark(o mizzen.Object) {
	metadata, _ := o.Object["metadata"].(map[string]any)
	for field, keys := range map[string][]string{
		"labels":      {mizzen.LabelManaged},
		"annotations": {mizzen.AnnotationOwner, mizzen.AnnotationIdentity},
	} {
		values, _ := metadata[field].(map[string]any)
		for _, key := range keys {
			delete(values, key)
		}
		if len(values) == 0 {
			delete(metadata, field)
		}
	}
}
