package archive

import (
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// children calls visit with every schema directly below s, and puts back what
// it returns: schemas are held by value in maps and lists.
func children(s *apiextensionsv1.JSONSchemaProps, visit func(*apiextensionsv1.JSONSchemaProps)) {
	inMap := func(m map[string]apiextensionsv1.JSONSchemaProps) {
		for name, child := range m {
			visit(&child)
			m[name] = child
		}
	}
	inList := func(list []apiextensionsv1.JSONSchemaProps) {
		for i := range list {
			visit(&list[i])
		}
	}
	inMap(s.Properties)
	inMap(s.PatternProperties)
	inList(s.AllOf)
	inList(s.AnyOf)
	inList(s.OneOf)
	if s.Not != nil {
		visit(s.Not)
	}
	if s.Items != nil && s.Items.Schema != nil {
		visit(s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		visit(s.AdditionalProperties.Schema)
	}
}

// walk calls visit with s and every schema below it.
func walk(s *apiextensionsv1.JSONSchemaProps, visit func(*apiextensionsv1.JSONSchemaProps)) {
	visit(s)
	children(s, func(child *apiextensionsv1.JSONSchemaProps) { walk(child, visit) })
}

// strip returns a copy of s without what only people read.
func strip(s *apiextensionsv1.JSONSchemaProps) *apiextensionsv1.JSONSchemaProps {
	s = s.DeepCopy()
	walk(s, func(s *apiextensionsv1.JSONSchemaProps) {
		s.Description, s.Title = "", ""
		s.Example, s.ExternalDocs = nil, nil
		// A reference that carries a description or a default is published
		// as "allOf" of one.
		if len(s.AllOf) == 1 && s.AllOf[0].Ref != nil && s.Ref == nil {
			s.Ref, s.AllOf = s.AllOf[0].Ref, nil
		}
		slices.Sort(s.Required)
	})
	return s
}
