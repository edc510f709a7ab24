package kustomize

import (
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen/internal/render/manifest"
)

// addTransformers adds what a layer writes by its own keys, in the order in
// which Kustomize applies them: namespace, labels, annotations, replicas,
// images. name is what the object is called in its file.
func (w *writers) addTransformers(l *layer, name string) {
	if at, value := manifest.Entry(l.root, "namespace"); value != nil {
		w.over(keyed(keyed("", "metadata"), "namespace"), at, value, l.file)
	}
	for _, pairs := range labelPairs(l) {
		w.addPairs(l, pairs, "labels", "matchLabels", "selector")
	}
	w.addPairs(l, manifest.Child(l.root, "commonAnnotations"), "annotations")
	for _, element := range elements(l, "replicas") {
		if n := manifest.Child(element, "name"); n != nil && n.Value == name {
			at, count := manifest.Entry(element, "count")
			w.over(keyed(keyed("", "spec"), "replicas"), at, count, l.file)
		}
	}
	w.addImages(l)
}

// over adds a scalar to a path.
func (w *writers) over(p string, at, value *yamlv3.Node, file string) {
	if at != nil && value != nil {
		w.node(p, at, value, file, true)
	}
}

func elements(l *layer, key string) []*yamlv3.Node {
	list := manifest.Resolve(manifest.Child(l.root, key))
	if list == nil || list.Kind != yamlv3.SequenceNode {
		return nil
	}
	return list.Content
}

func labelPairs(l *layer) []*yamlv3.Node {
	var all []*yamlv3.Node
	for _, element := range elements(l, "labels") {
		all = append(all, manifest.Child(element, "pairs"))
	}
	return append(all, manifest.Child(l.root, "commonLabels"))
}

// addPairs adds labels wherever the object has a mapping of the given names
// with such a key and value.
func (w *writers) addPairs(l *layer, pairs *yamlv3.Node, parents ...string) {
	pairs = manifest.Resolve(pairs)
	if pairs == nil || pairs.Kind != yamlv3.MappingNode {
		return
	}
	for _, parent := range parents {
		w.eachTable(parent, func(p string, table map[string]any) {
			for i := 0; i+1 < len(pairs.Content); i += 2 {
				if value, has := table[pairs.Content[i].Value]; has && value == pairs.Content[i+1].Value {
					w.over(keyed(p, pairs.Content[i].Value), pairs.Content[i], pairs.Content[i+1], l.file)
				}
			}
		})
	}
}

// eachTable calls f for every mapping of a name in the object.
func (w *writers) eachTable(name string, f func(p string, table map[string]any)) {
	w.eachField(func(p, key string, value any) {
		if table, ok := value.(map[string]any); ok && key == name {
			f(p, table)
		}
	})
}

func (w *writers) eachField(f func(p, key string, value any)) {
	var walk func(p string, v any)
	walk = func(p string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				f(keyed(p, key), key, value)
				walk(keyed(p, key), value)
			}
		case []any:
			for i, value := range v {
				walk(element(p, i, value), value)
			}
		}
	}
	walk("", w.object)
}

// addImages adds the entries of images that make of an image, as it is written
// so far, exactly what was built.
func (w *writers) addImages(l *layer) {
	w.eachField(func(p, key string, value any) {
		built, isText := value.(string)
		if !isText || key != "image" {
			return
		}
		for _, e := range elements(l, "images") {
			before := w.last[p].value
			after, at := renamed(e, before)
			if at != nil && after == built {
				w.last[p] = writer{value: built, scalar: true, at: l.atNode(at)}
			}
		}
	})
}

// renamed applies an entry of images to an image, and returns the node that
// decides: the tag or digest, else the name.
func renamed(e *yamlv3.Node, image string) (string, *yamlv3.Node) {
	name, suffix := image, ""
	if i := strings.IndexByte(image, '@'); i >= 0 {
		name, suffix = image[:i], image[i:]
	} else if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		name, suffix = image[:i], image[i:]
	}
	if n := manifest.Child(e, "name"); n == nil || n.Value != name || image == "" {
		return "", nil
	}
	var at *yamlv3.Node
	for _, part := range []struct {
		key  string
		make func(value string)
	}{
		{"newName", func(v string) { name = v }},
		{"newTag", func(v string) { suffix = ":" + v }},
		{"digest", func(v string) { suffix = "@" + v }},
	} {
		if key, value := manifest.Entry(e, part.key); value != nil {
			part.make(value.Value)
			at = key
		}
	}
	return name + suffix, at
}

// addGenerator adds the data of a generated ConfigMap or Secret that stands in
// the kustomization: literals. A Secret's are encoded, so its lines are only
// told by key.
func (w *writers) addGenerator(l *layer, g *yamlv3.Node) {
	data, _ := w.object["data"].(map[string]any)
	for _, e := range l.scalars(manifest.Child(g, "literals")) {
		key, value, _ := strings.Cut(e.value, "=")
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		if built, has := data[key]; has && w.object["kind"] == "ConfigMap" && built == value {
			w.last[keyed(keyed("", "data"), key)] = writer{value: value, scalar: true, at: e.at}
		}
	}
}
