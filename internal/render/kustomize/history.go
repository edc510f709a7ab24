package kustomize

import (
	"regexp"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/kustomize/api/types"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// A history is how an object came about: from a file, or from a generator of
// a layer, and through layers, the first to act first.
type history struct {
	object    mizzen.Object
	base      *manifest.Item
	generator *layer
	layers    []*layer
}

func kind(i manifest.Item) schema.GroupKind {
	return (&unstructured.Unstructured{Object: i.Object}).GroupVersionKind().GroupKind()
}

func nameOf(i manifest.Item) string {
	return (&unstructured.Unstructured{Object: i.Object}).GetName()
}

// fill sets the origins of the object.
func (h *history) fill(o *mizzen.Object) {
	g := h.generated()
	switch {
	case h.base != nil:
		o.Origins.Object = mizzen.Origin{File: h.base.File, Line: h.base.Line}
	case g != nil:
		o.Origins.Object = mizzen.Origin{File: h.generator.file, Line: g.Line}
	}
	w := newWriters(h.object.Object)
	w.addBase(h.base)
	if g != nil {
		w.addGenerator(h.generator, g)
	}
	for _, l := range h.layers {
		for _, p := range l.patches {
			if h.applies(p) {
				o.Origins.Object.Via = append(o.Origins.Object.Via, p.at)
				w.addPatch(p)
			}
		}
		w.addTransformers(l, h.originalName())
	}
	o.Origins.Fields = w.fields(o.Origins.Object)
}

// generated returns the element of the generator that made the object: the
// only one whose name is part of its name.
func (h *history) generated() *yamlv3.Node {
	if h.generator == nil {
		return nil
	}
	key := map[string]string{"ConfigMap": "configMapGenerator", "Secret": "secretGenerator"}[h.object.GetKind()]
	list := manifest.Resolve(manifest.Child(h.generator.root, key))
	if list == nil {
		return nil
	}
	var found []*yamlv3.Node
	for _, element := range list.Content {
		if name := manifest.Child(element, "name"); name != nil && strings.Contains(h.object.GetName(), name.Value) {
			found = append(found, manifest.Resolve(element))
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// originalName is the name before prefixes, suffixes and hashes.
func (h *history) originalName() string {
	if h.base != nil {
		return nameOf(*h.base)
	}
	if g := h.generated(); g != nil {
		return manifest.Child(g, "name").Value
	}
	return ""
}

// applies reports whether a patch of a layer that the object went through is
// for it.
func (h *history) applies(p patch) bool {
	if p.target != nil {
		return h.selected(*p.target)
	}
	object, ok := p.doc.Value.(map[string]any)
	if !ok {
		return false
	}
	item := manifest.Item{Object: object}
	return kind(item) == h.object.GroupVersionKind().GroupKind() && h.hasName(nameOf(item))
}

// hasName reports whether the object has or had a name: its own, the one it
// began with, or one on the way between.
func (h *history) hasName(name string) bool {
	first, last := h.originalName(), h.object.GetName()
	return name != "" && (name == first || name == last || first != "" && strings.Contains(name, first) && strings.Contains(last, name))
}

func (h *history) selected(s types.Selector) bool {
	gvk := h.object.GroupVersionKind()
	matches := func(pattern string, values ...string) bool {
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		return pattern == "" || err == nil && slices.ContainsFunc(values, re.MatchString)
	}
	return matches(s.Group, gvk.Group) && matches(s.Version, gvk.Version) && matches(s.Kind, gvk.Kind) &&
		matches(s.Name, h.originalName(), h.object.GetName()) && h.inNamespace(s.Namespace, matches) &&
		h.labeled(s.LabelSelector, (*unstructured.Unstructured).GetLabels) &&
		h.labeled(s.AnnotationSelector, (*unstructured.Unstructured).GetAnnotations)
}

func (h *history) inNamespace(pattern string, matches func(string, ...string) bool) bool {
	values := []string{h.object.GetNamespace()}
	if h.base != nil {
		values = append(values, (&unstructured.Unstructured{Object: h.base.Object}).GetNamespace())
	}
	return matches(pattern, values...)
}

// labeled reports whether a selector matches what the object has or began
// with.
func (h *history) labeled(selector string, get func(*unstructured.Unstructured) map[string]string) bool {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return false
	}
	if parsed.Matches(labels.Set(get(h.object.Unstructured))) {
		return true
	}
	return h.base != nil && parsed.Matches(labels.Set(get(&unstructured.Unstructured{Object: h.base.Object})))
}
