package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"mizzen.dev/mizzen/internal/lint/archive"
)

// Definitions that Go decodes in a way of its own.
const (
	quantityDefinition    = "io.k8s.apimachinery.pkg.api.resource.Quantity"
	intOrStringDefinition = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
)

// Formats that the walker knows beside those of the API server.
const (
	formatQuantity    = "quantity"
	formatIntOrString = "int-or-string"
	formatTime        = "date-time"
	formatBytes       = "byte"
)

type compiler struct {
	definitions archive.Definitions
	custom      bool
	meta        *node
	// nodes holds what is compiled by name, since schemas refer to each other
	// and some to themselves.
	nodes map[string]*node
}

func (c *compiler) root(k archive.Kind) (*node, error) {
	definition := c.definitions[k.Definition]
	if definition == nil {
		return &node{types: object, free: true}, nil
	}
	if !c.custom {
		return c.named(k.Definition)
	}
	n, err := c.compile(definition)
	if err != nil {
		return nil, err
	}
	c.embed(n)
	return n, nil
}

// embed gives a resource the fields that its definition need not mention.
func (c *compiler) embed(n *node) {
	if n.fields == nil {
		n.fields = map[string]*node{}
	}
	n.fields["apiVersion"] = &node{types: text}
	n.fields["kind"] = &node{types: text}
	metadata := *c.meta
	if own := n.fields["metadata"]; own != nil && !own.shared && len(own.fields) > 0 {
		own.free = true
		metadata.limits = &limits{allOf: []*node{own}}
	}
	n.fields["metadata"] = &metadata
}

func (c *compiler) named(name string) (*node, error) {
	if name == MetadataDefinition && c.meta != nil {
		return c.meta, nil
	}
	if n, ok := c.nodes[name]; ok {
		return n, nil
	}
	n := &node{shared: true}
	c.nodes[name] = n
	switch {
	case name == quantityDefinition:
		n.types, n.format = text|number|integer, formatQuantity
	case name == intOrStringDefinition:
		n.types, n.format = text|integer, formatIntOrString
	case c.definitions[name] == nil:
		n.free = true
	default:
		compiled, err := c.compile(c.definitions[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		*n = *compiled
		n.shared, n.metadata = true, name == MetadataDefinition
		n.required = enforced(name, n)
	}
	return n, nil
}

func (c *compiler) compile(s *apiextensionsv1.JSONSchemaProps) (*node, error) {
	if s.Ref != nil {
		return c.named(*s.Ref)
	}
	n := &node{
		nullable:  s.Nullable,
		free:      s.XPreserveUnknownFields != nil && *s.XPreserveUnknownFields,
		defaulted: s.Default != nil,
		required:  s.Required,
		format:    c.format(s),
	}
	var err error
	if n.types, err = typesOf(s); err != nil {
		return nil, err
	}
	if err := c.structure(n, s); err != nil {
		return nil, err
	}
	if n.limits, err = c.limits(s); err != nil {
		return nil, err
	}
	if s.XEmbeddedResource && c.custom {
		c.embed(n)
	}
	return n, nil
}

func typesOf(s *apiextensionsv1.JSONSchemaProps) (jsonType, error) {
	if s.XIntOrString {
		return text | integer, nil
	}
	types := map[string]jsonType{
		"": 0, "object": object, "array": array, "string": text, "integer": integer, "number": number, "boolean": boolean,
	}
	t, ok := types[s.Type]
	if !ok {
		return 0, fmt.Errorf("unknown type %q", s.Type)
	}
	return t, nil
}

// format returns the format if the API server checks it.
func (c *compiler) format(s *apiextensionsv1.JSONSchemaProps) string {
	if !c.custom {
		return s.Format
	}
	probe := &spec.Schema{}
	probe.Format = s.Format
	if s.Type != "" {
		probe.Type = spec.StringOrArray{s.Type}
	}
	if err := validation.StripUnsupportedFormatsPostProcess(probe); err != nil {
		return ""
	}
	return probe.Format
}

// structure compiles what is below s: fields, values and items.
func (c *compiler) structure(n *node, s *apiextensionsv1.JSONSchemaProps) error {
	if len(s.Properties) > 0 {
		n.fields = make(map[string]*node, len(s.Properties))
	}
	for name, property := range s.Properties {
		field, err := c.compile(&property)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n.fields[name] = field
	}
	if err := c.values(n, s.AdditionalProperties); err != nil {
		return fmt.Errorf("values: %w", err)
	}
	if err := c.items(n, s); err != nil {
		return fmt.Errorf("items: %w", err)
	}
	// A Go type without fields decodes whatever there is, such as RawExtension.
	if !c.custom && n.fields == nil && n.values == nil {
		n.free = true
	}
	return nil
}

func (c *compiler) items(n *node, s *apiextensionsv1.JSONSchemaProps) (err error) {
	n.associative = s.XListType != nil && *s.XListType != "atomic"
	if s.Items != nil && s.Items.Schema != nil {
		n.items, err = c.compile(s.Items.Schema)
	}
	return err
}

func (c *compiler) values(n *node, more *apiextensionsv1.JSONSchemaPropsOrBool) (err error) {
	switch {
	case more == nil:
	case more.Schema != nil:
		n.values, err = c.compile(more.Schema)
	case more.Allows:
		n.values = &node{free: true}
	}
	return err
}

func (c *compiler) limits(s *apiextensionsv1.JSONSchemaProps) (*limits, error) {
	l := &limits{
		minimum: s.Minimum, maximum: s.Maximum, exclusiveMin: s.ExclusiveMinimum, exclusiveMax: s.ExclusiveMaximum,
		multipleOf: s.MultipleOf, minLength: s.MinLength, maxLength: s.MaxLength,
		minItems: s.MinItems, maxItems: s.MaxItems, minProperties: s.MinProperties, maxProperties: s.MaxProperties,
	}
	for _, raw := range s.Enum {
		var v any
		if err := json.Unmarshal(raw.Raw, &v); err != nil {
			return nil, fmt.Errorf("enum: %w", err)
		}
		l.enum = append(l.enum, v)
	}
	if s.Pattern != "" {
		pattern, err := regexp.Compile(s.Pattern)
		if err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
		l.pattern = pattern
	}
	if err := c.alternatives(l, s); err != nil {
		return nil, err
	}
	if reflect.ValueOf(*l).IsZero() {
		return nil, nil //nolint:nilnil // no limits are no error
	}
	return l, nil
}

// alternatives compiles allOf, anyOf, oneOf and not. They judge values and say
// nothing of which fields exist.
func (c *compiler) alternatives(l *limits, s *apiextensionsv1.JSONSchemaProps) error {
	if !c.custom && s.Type == "" && len(s.AllOf)+len(s.AnyOf)+len(s.OneOf) > 0 {
		return errors.New("a Go type with alternatives")
	}
	anyOf := s.AnyOf
	if s.XIntOrString {
		anyOf = nil // they only repeat that it is an integer or a string
	}
	for _, list := range []struct {
		from []apiextensionsv1.JSONSchemaProps
		to   *[]*node
	}{{s.AllOf, &l.allOf}, {anyOf, &l.anyOf}, {s.OneOf, &l.oneOf}} {
		for i := range list.from {
			n, err := c.compile(&list.from[i])
			if err != nil {
				return err
			}
			*list.to = append(*list.to, n.freed())
		}
	}
	if s.Not != nil {
		not, err := c.compile(s.Not)
		if err != nil {
			return err
		}
		l.not = not.freed()
	}
	return nil
}

// freed returns n with every object open to unknown fields.
func (n *node) freed() *node {
	if n.free || n.shared {
		return n
	}
	n.free = true
	for _, child := range n.fields {
		child.freed()
	}
	for _, child := range []*node{n.values, n.items} {
		if child != nil {
			child.freed()
		}
	}
	return n
}
