package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// api describes the fields of every custom resource, one table per kind.
func api() (string, error) {
	var b strings.Builder
	b.WriteString("# Custom resources\n\nGroup `mizzen.dev`, version `v1alpha1`. Fields that name no default are empty by default.\n")
	files, err := filepath.Glob("api/crds/*.yaml")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", crd.Spec.Names.Kind, paragraph(schema.Description))
		if names := crd.Spec.Names.ShortNames; len(names) > 0 {
			fmt.Fprintf(&b, "\nShort name: `%s`.\n", strings.Join(names, "`, `"))
		}
		for _, part := range []string{"spec", "status"} {
			properties, ok := schema.Properties[part]
			if !ok {
				continue
			}
			b.WriteString("\n| field | type | |\n|---|---|---|\n")
			fields(&b, part, properties)
		}
	}
	return b.String(), nil
}

// fields writes a row per field, depth first.
func fields(b *strings.Builder, path string, schema apiextensionsv1.JSONSchemaProps) {
	names := make([]string, 0, len(schema.Properties))
	for name := range schema.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		field := schema.Properties[name]
		required := slices.Contains(schema.Required, name)
		fmt.Fprintf(b, "| `%s.%s` | %s | %s |\n", path, name, typeOf(field), describe(field, required))
		inner := path + "." + name
		if field.Items != nil && field.Items.Schema != nil {
			field, inner = *field.Items.Schema, inner+"[]"
		}
		if name != "conditions" { // the same everywhere: metav1.Condition
			fields(b, inner, field)
		}
	}
}

func typeOf(s apiextensionsv1.JSONSchemaProps) string {
	if s.Type == "array" && s.Items != nil && s.Items.Schema != nil {
		return "list of " + typeOf(*s.Items.Schema)
	}
	if s.XPreserveUnknownFields != nil && *s.XPreserveUnknownFields {
		return "any"
	}
	if s.Type == "" {
		return "any"
	}
	return s.Type
}

func describe(s apiextensionsv1.JSONSchemaProps, required bool) string {
	words := []string{}
	if required {
		words = append(words, "**Required.**")
	}
	if s.Description != "" {
		words = append(words, paragraph(s.Description))
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		words = append(words, "One of "+strings.Join(values, ", ")+".")
	}
	if s.Default != nil && string(s.Default.Raw) != "{}" {
		words = append(words, "Default `"+strings.Trim(string(s.Default.Raw), `"`)+"`.")
	}
	return strings.ReplaceAll(strings.Join(words, " "), "|", "\\|")
}

func paragraph(text string) string { return strings.Join(strings.Fields(text), " ") }
