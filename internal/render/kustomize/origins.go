package kustomize

import (
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// findOrigins tells where objects were written and, if o asks for them, their
// fields. Kustomize itself can say which file an object came from and which
// kustomizations changed it, but only by annotations that might change what it
// builds. So it builds a second time with them, and is believed if the objects
// are otherwise the same.
func findOrigins(files *fileSystem, layers []*layer, o render.Options, objects []mizzen.Object) error {
	t := tracer{layers: layers, items: map[string][]manifest.Item{}}
	for _, l := range layers {
		for _, name := range l.manifests {
			if err := t.read(files, name); err != nil {
				return err
			}
		}
	}
	for i := range objects {
		objects[i].Origins.Object = t.byIdentity(objects[i])
	}
	if !o.FieldOrigins {
		return nil
	}
	root := layers[0]
	metadata := slices.Concat(root.parsed.BuildMetadata, []string{types.OriginAnnotations, types.TransformerAnnotations})
	slices.Sort(metadata)
	if err := layOver(files, root, o, slices.Compact(metadata)); err != nil {
		return err
	}
	traced, err := build(files, root)
	if err != nil || traced.Size() != len(objects) {
		traced = nil
	}
	for i := range objects {
		history := t.history(traced, i, objects[i])
		history.fill(&objects[i])
	}
	return nil
}

type tracer struct {
	layers []*layer
	items  map[string][]manifest.Item
}

// read reads the objects of a file again; what is no plain object is left out.
func (t tracer) read(files *fileSystem, name string) error {
	if _, done := t.items[name]; done {
		return nil
	}
	data, err := files.original(name)
	if err != nil {
		return err
	}
	docs, _, err := manifest.Read(name, data)
	if err != nil {
		return err
	}
	t.items[name] = []manifest.Item{}
	for _, d := range docs {
		if found, err := d.Items(); err == nil {
			t.items[name] = append(t.items[name], found...)
		}
	}
	return nil
}

// byIdentity finds the one object in all files that has the kind and name of a
// rendered one. Without it, the kustomization is all that is known.
func (t tracer) byIdentity(o mizzen.Object) mizzen.Origin {
	var found []manifest.Item
	for _, name := range slices.Sorted(maps.Keys(t.items)) {
		for _, item := range t.items[name] {
			if kind(item) == o.GroupVersionKind().GroupKind() && nameOf(item) == o.GetName() {
				found = append(found, item)
			}
		}
	}
	if len(found) == 1 {
		return mizzen.Origin{File: found[0].File, Line: found[0].Line}
	}
	return mizzen.Origin{File: t.layers[0].file}
}

// history returns what is known of how the i-th object came about.
func (t tracer) history(traced resmap.ResMap, i int, o mizzen.Object) *history {
	h := &history{object: o}
	if traced == nil {
		return h
	}
	r := traced.Resources()[i]
	origin, err := r.GetOrigin()
	if err != nil || origin == nil || !sameButForTrace(r, o) {
		return h
	}
	root := t.layers[0]
	if origin.ConfiguredIn != "" {
		h.generator = t.layer(path.Join(root.dir, origin.ConfiguredIn))
	} else {
		h.base = t.base(path.Join(root.dir, origin.Path), o)
	}
	changes, err := r.GetTransformations()
	if err != nil {
		return h
	}
	for _, change := range changes {
		l := t.layer(path.Join(root.dir, change.ConfiguredIn))
		if l != nil && !slices.Contains(h.layers, l) {
			h.layers = append(h.layers, l)
		}
	}
	return h
}

func (t tracer) layer(file string) *layer {
	for _, l := range t.layers {
		if l.file == file {
			return l
		}
	}
	return nil
}

// base returns the object of a file that became o: the one of its kind whose
// name it has, or the only one whose name is part of its name.
func (t tracer) base(file string, o mizzen.Object) *manifest.Item {
	var like []manifest.Item
	for _, item := range t.items[file] {
		if kind(item) != o.GroupVersionKind().GroupKind() {
			continue
		}
		if nameOf(item) == o.GetName() {
			return &item
		}
		if strings.Contains(o.GetName(), nameOf(item)) {
			like = append(like, item)
		}
	}
	if len(like) == 1 {
		return &like[0]
	}
	return nil
}

// sameButForTrace compares a traced resource with what was built without the
// annotations.
func sameButForTrace(r *resource.Resource, o mizzen.Object) bool {
	text, err := r.AsYAML()
	if err != nil {
		return false
	}
	found, _, err := manifest.ReadObjects("", text, false)
	if err != nil || len(found) != 1 {
		return false
	}
	nameVersion(found[0])
	return equality.Semantic.DeepEqual(withoutTrace(found[0].Object), withoutTrace(o.Object))
}

// withoutTrace returns an object without the annotations of a trace, and
// without annotations if there are no others.
func withoutTrace(object map[string]any) map[string]any {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	kept := maps.Clone(annotations)
	delete(kept, "config.kubernetes.io/origin")
	delete(kept, "alpha.config.kubernetes.io/transformations")
	metadata, object = maps.Clone(metadata), maps.Clone(object)
	delete(metadata, "annotations")
	if len(kept) > 0 {
		metadata["annotations"] = kept
	}
	object["metadata"] = metadata
	return object
}
