package schema

import (
	"context"
	"strconv"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"mizzen.dev/mizzen"
)

// rules are the x-kubernetes-validations of a custom resource, judged by the
// API server's own code. Rules about a change (oldSelf) are left out: there is
// no old object.
type rules struct {
	schema    *structural.Structural
	validator *cel.Validator
}

// maxRules bounds how much an untrusted definition may ask to be compiled.
const maxRules = 1000

// compileRules returns nil if there are no rules, or if the definition is one
// that the API server would not accept.
func compileRules(definition *apiextensionsv1.JSONSchemaProps) *rules {
	if n := countRules(definition); n == 0 || n > maxRules {
		return nil
	}
	definition = definition.DeepCopy()
	// As it is in a definition; published schemas refer to ObjectMeta.
	delete(definition.Properties, "metadata")
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition, internal, nil); err != nil {
		return nil
	}
	s, err := structural.NewStructural(internal)
	if err != nil || len(structural.ValidateStructural(nil, s)) > 0 {
		return nil
	}
	return &rules{schema: s, validator: cel.NewValidator(s, true, celconfig.PerCallLimit)}
}

func countRules(s *apiextensionsv1.JSONSchemaProps) int {
	if s == nil {
		return 0
	}
	n := len(s.XValidations)
	for _, child := range s.Properties {
		n += countRules(&child)
	}
	for _, list := range [][]apiextensionsv1.JSONSchemaProps{s.AllOf, s.AnyOf, s.OneOf} {
		for i := range list {
			n += countRules(&list[i])
		}
	}
	if s.Items != nil {
		n += countRules(s.Items.Schema)
	}
	if s.AdditionalProperties != nil {
		n += countRules(s.AdditionalProperties.Schema)
	}
	return n
}

// validate judges an object that is otherwise valid.
func (r *rules) validate(ctx context.Context, object map[string]any) []Problem {
	object = runtime.DeepCopyJSON(object)
	defaulting.Default(object, r.schema)
	errs, _ := r.validator.Validate(ctx, nil, r.schema, object, nil, celconfig.RuntimeCELCostBudget)
	var problems []Problem
	for _, err := range errs {
		if len(problems) == maxProblems {
			break
		}
		path := pathIn(object, err.Field)
		message := err.Detail
		if path != "" {
			message = string(path) + ": " + message
		}
		problems = append(problems, Problem{Code: mizzen.CodeInvalidValue, Severity: mizzen.Fatal, Path: path, Message: message})
	}
	return problems
}

// pathIn reads a path as the API server writes it, where a key of a map and an
// index of a list look alike and a key may hold dots and brackets.
func pathIn(v any, s string) mizzen.Path {
	var p mizzen.Path
	if s == "<nil>" {
		return p
	}
	for s != "" {
		s = strings.TrimPrefix(s, ".")
		if inner, ok := strings.CutPrefix(s, "["); ok {
			key, rest, _ := strings.Cut(inner, "]")
			list, isList := v.([]any)
			i, err := strconv.Atoi(key)
			if isList && err == nil {
				p, s, v = p.Index(i), rest, nil
				if i >= 0 && i < len(list) {
					v = list[i]
				}
				continue
			}
			m, _ := v.(map[string]any)
			p, s, v = p.Key(key), rest, m[key]
			continue
		}
		end := strings.IndexAny(s, ".[")
		if end < 0 {
			end = len(s)
		}
		m, _ := v.(map[string]any)
		p, v, s = p.Key(s[:end]), m[s[:end]], s[end:]
	}
	return p
}
