package archive

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refPrefix is how a document refers to its own schemas.
const refPrefix = "#/components/schemas/"

// document is the part of an OpenAPI v3 document of a group-version that says
// which kinds can be created, and what they look like.
type document struct {
	Paths map[string]struct {
		Post *struct {
			Kind        *schema.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					} `json:"schema"`
				} `json:"content"`
			} `json:"requestBody"`
		} `json:"post"`
	} `json:"paths"`
	Components struct {
		Schemas Definitions `json:"schemas"`
	} `json:"components"`
}

// FromOpenAPI packs documents as the API server publishes them below
// /openapi/v3, one for each group-version. Only kinds that can be created are
// kept.
func FromOpenAPI(documents ...[]byte) (*Archive, error) {
	var kinds []Kind
	definitions := Definitions{}
	for _, b := range documents {
		var doc document
		if err := json.Unmarshal(b, &doc); err != nil {
			return nil, fmt.Errorf("read OpenAPI document: %w", err)
		}
		kinds = append(kinds, doc.kinds()...)
		for name, s := range doc.Components.Schemas {
			if s == nil || strings.ContainsAny(name, "\t\n") {
				continue // no name of a schema, and it would break the lines
			}
			walk(s, func(s *apiextensionsv1.JSONSchemaProps) {
				if s.Ref != nil {
					bare := strings.TrimPrefix(*s.Ref, refPrefix)
					s.Ref = &bare
				}
			})
			definitions[name] = s
		}
	}
	forgetDefaults(kinds, definitions)
	return New(kinds, definitions)
}

func (d *document) kinds() []Kind {
	var kinds []Kind
	seen := map[schema.GroupVersionKind]bool{}
	for path, item := range d.Paths {
		// Below a name are subresources: Binding, Eviction, Scale, …
		if item.Post == nil || item.Post.Kind == nil || strings.Contains(path, "/{name}") {
			continue
		}
		gvk := *item.Post.Kind
		for _, content := range item.Post.RequestBody.Content {
			name := strings.TrimPrefix(content.Schema.Ref, refPrefix)
			if name == "" || seen[gvk] {
				continue
			}
			seen[gvk] = true
			kinds = append(kinds, Kind{
				Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind,
				Namespaced: strings.Contains(path, "/namespaces/{namespace}/"),
				// Go types are published by their package's path.
				Custom:     name == reversed(gvk),
				Definition: name,
			})
		}
	}
	return kinds
}

// forgetDefaults drops the defaults of Go types: they only repeat Go's zero
// values. Those of custom resources decide what is required.
func forgetDefaults(kinds []Kind, definitions Definitions) {
	custom := map[string]bool{}
	for _, k := range kinds {
		custom[k.Definition] = k.Custom
	}
	for name, s := range definitions {
		if !custom[name] {
			walk(s, func(s *apiextensionsv1.JSONSchemaProps) { s.Default = nil })
		}
	}
}

// FromCRDs packs the served versions of CustomResourceDefinitions.
func FromCRDs(crds ...*apiextensionsv1.CustomResourceDefinition) (*Archive, error) {
	var kinds []Kind
	definitions := Definitions{}
	for _, crd := range crds {
		more, schemas := Defined(crd)
		kinds = append(kinds, more...)
		maps.Copy(definitions, schemas)
	}
	return New(kinds, definitions)
}

// Defined returns the served versions of a CustomResourceDefinition and their
// schemas, which still belong to it.
func Defined(crd *apiextensionsv1.CustomResourceDefinition) ([]Kind, Definitions) {
	var kinds []Kind
	definitions := Definitions{}
	for _, v := range crd.Spec.Versions {
		if !v.Served {
			continue
		}
		k := Kind{
			Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind,
			Namespaced: crd.Spec.Scope == apiextensionsv1.NamespaceScoped,
			Custom:     true,
		}
		k.Definition = reversed(k.GroupVersionKind())
		kinds = append(kinds, k)
		if v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			definitions[k.Definition] = v.Schema.OpenAPIV3Schema
		}
	}
	return kinds, definitions
}
