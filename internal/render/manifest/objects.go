package manifest

import (
	"errors"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// An Item is one object of a document: the document itself, or an element of
// a List.
type Item struct {
	Object map[string]any
	Node   *yamlv3.Node
	File   string
	// Line is where the object begins.
	Line int
}

// Items returns the objects of a document, with Lists split, after checking
// that each has apiVersion, kind and a name.
func (d Document) Items() ([]Item, error) {
	object, ok := d.Value.(map[string]any)
	if !ok {
		return nil, notAnObject(d.File, d.Line, "the document is not a mapping")
	}
	return items(Item{Object: object, Node: d.Root, File: d.File, Line: d.Line}, 0)
}

func items(item Item, depth int) ([]Item, error) {
	list, isList := elements(item)
	if !isList {
		return []Item{item}, item.check()
	}
	if depth > 3 {
		return nil, notAnObject(item.File, item.Line, "Lists are nested deeper than 3 levels")
	}
	node := Child(item.Node, "items")
	var all []Item
	for i, element := range list {
		object, ok := element.(map[string]any)
		inner := Item{Object: object, Node: Element(node, i), File: item.File, Line: item.Line}
		if inner.Node != nil {
			inner.Line = inner.Node.Line
		}
		if !ok {
			return nil, notAnObject(inner.File, inner.Line, "an element of a List is not a mapping")
		}
		found, err := items(inner, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// elements returns the items of a List: of kind List, or of a kind that ends
// in List and holds a list of items (ConfigMapList), as kubectl reads them.
func elements(item Item) ([]any, bool) {
	kind, _ := item.Object["kind"].(string)
	if !strings.HasSuffix(kind, "List") {
		return nil, false
	}
	switch list := item.Object["items"].(type) {
	case []any:
		return list, true
	case nil:
		_, has := item.Object["items"]
		return nil, kind == "List" || has
	}
	return nil, false
}

func (i Item) check() error {
	apiVersion, _ := i.Object["apiVersion"].(string)
	kind, _ := i.Object["kind"].(string)
	var missing []string
	if apiVersion == "" {
		missing = append(missing, "apiVersion")
	}
	if kind == "" {
		missing = append(missing, "kind")
	}
	if len(missing) > 0 {
		return notAnObject(i.File, i.Line, "no Kubernetes object: without "+strings.Join(missing, " and "))
	}
	if strings.HasPrefix(apiVersion, "kustomize.config.k8s.io/") {
		return &mizzen.Error{
			Kind:   mizzen.Invalid,
			Origin: mizzen.Origin{File: i.File, Line: i.Line},
			Err:    errors.New("a kustomization lies below a directory of plain manifests"),
			Remedy: "point the Application at the directory of the kustomization",
		}
	}
	return i.checkMetadata(kind)
}

func (i Item) checkMetadata(kind string) error {
	metadata, ok := i.Object["metadata"].(map[string]any)
	if !ok && i.Object["metadata"] != nil {
		return notAnObject(i.File, i.Line, kind+" has a metadata that is not a mapping")
	}
	if name, _ := metadata["name"].(string); name != "" {
		return nil
	}
	if prefix, _ := metadata["generateName"].(string); prefix != "" {
		return &mizzen.Error{
			Kind:   mizzen.Refused,
			Object: kind + " " + prefix + "*",
			Origin: mizzen.Origin{File: i.File, Line: i.Line},
			Err:    errors.New("generateName gives a new object at every sync, which cannot be kept in sync"),
			Remedy: "give it a metadata.name",
		}
	}
	if name, has := metadata["name"]; has && name != nil && name != "" {
		return notAnObject(i.File, i.Line, kind+" has a metadata.name that is not a string: put it in quotes")
	}
	return notAnObject(i.File, i.Line, kind+" has no metadata.name")
}

func notAnObject(file string, line int, cause string) error {
	return &mizzen.Error{
		Kind:   mizzen.Invalid,
		Origin: mizzen.Origin{File: file, Line: line},
		Err:    errors.New(cause),
		Remedy: "correct it, or move it out of the Application's path if it is no manifest",
	}
}

// ReadObjects reads the objects of a file. fields asks for the origin of every
// field.
func ReadObjects(file string, data []byte, fields bool) ([]mizzen.Object, []mizzen.Finding, error) {
	docs, findings, err := Read(file, data)
	if err != nil {
		return nil, nil, err
	}
	var objects []mizzen.Object
	for _, doc := range docs {
		found, err := doc.Items()
		if err != nil {
			return nil, nil, err
		}
		for _, item := range found {
			objects = append(objects, item.Build(fields))
		}
	}
	return objects, findings, nil
}

// Build returns the object, with the origin of every field if fields is set.
func (i Item) Build(fields bool) mizzen.Object {
	o := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: i.Object}}
	o.Origins.Object = mizzen.Origin{File: i.File, Line: i.Line}
	if fields {
		o.Origins.Fields = map[mizzen.Path]mizzen.Origin{}
		EachField(i.Node, func(p mizzen.Path, n, _ *yamlv3.Node) {
			o.Origins.Fields[p] = mizzen.Origin{File: i.File, Line: n.Line}
		})
	}
	return o
}
