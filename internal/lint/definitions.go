package lint

import (
	"errors"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint/archive"
	objectschema "mizzen.dev/mizzen/internal/lint/schema"
)

// definitions are the CustomResourceDefinitions among rendered objects. They
// are compiled only when an object needs one.
type definitions struct {
	objects map[schema.GroupKind]mizzen.Object
	schemas map[schema.GroupVersionKind]*objectschema.Schema
	broken  map[schema.GroupKind]error
}

func definedBy(objects []mizzen.Object) *definitions {
	d := &definitions{
		objects: map[schema.GroupKind]mizzen.Object{},
		schemas: map[schema.GroupVersionKind]*objectschema.Schema{},
		broken:  map[schema.GroupKind]error{},
	}
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		if gvk.Group != apiextensionsv1.GroupName || gvk.Kind != "CustomResourceDefinition" {
			continue
		}
		spec, _ := o.Object["spec"].(map[string]any)
		names, _ := spec["names"].(map[string]any)
		group, _ := spec["group"].(string)
		if kind, _ := names["kind"].(string); kind != "" {
			d.objects[schema.GroupKind{Group: group, Kind: kind}] = o
		}
	}
	return d
}

// lookup returns nil if no object defines the kind in that version.
func (d *definitions) lookup(gvk schema.GroupVersionKind) (*objectschema.Schema, error) {
	gk := gvk.GroupKind()
	o, ok := d.objects[gk]
	if !ok {
		return nil, nil //nolint:nilnil // an undefined kind is no error
	}
	if err := d.broken[gk]; err != nil {
		return nil, err
	}
	if s, ok := d.schemas[gvk]; ok {
		return s, nil
	}
	err := d.compile(o)
	if err == nil && d.schemas[gvk] == nil {
		err = fmt.Errorf("it does not serve the version %s", gvk.Version)
	}
	d.broken[gk] = err
	return d.schemas[gvk], err
}

func (d *definitions) compile(o mizzen.Object) error {
	if o.GroupVersionKind().Version != "v1" {
		return errors.New("only apiextensions.k8s.io/v1 is supported")
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, crd); err != nil {
		return err
	}
	kinds, definitions := archive.Defined(crd)
	for _, k := range kinds {
		s, err := compileFrom(definitions, k)
		if err != nil {
			return err
		}
		d.schemas[k.GroupVersionKind()] = s
	}
	return nil
}
