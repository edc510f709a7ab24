package health

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"mizzen.dev/mizzen/internal/expression"
)

// costLimit bounds one evaluation, in CEL's units. The rules of our own need
// fewer than 1,000 for an object with 20 conditions.
const costLimit = 200_000

// environment compiles expressions.
type environment struct {
	env *cel.Env
}

func newEnvironment() (*environment, error) {
	object := cel.MapType(cel.StringType, cel.DynType)
	env, err := cel.NewEnv(
		cel.OptionalTypes(),
		cel.Variable("object", object),
		cel.Variable("metadata", object),
		cel.Variable("spec", object),
		cel.Variable("status", object),
		cel.Variable("conditions", object),
		cel.Variable("generation", cel.IntType),
		cel.Variable("observed", cel.BoolType),
		cel.Function("is", cel.MemberOverload("conditions_is",
			[]*cel.Type{object, cel.StringType, cel.StringType}, cel.BoolType, cel.FunctionBinding(conditionIs))),
		cel.Function("waits", cel.MemberOverload("conditions_waits",
			[]*cel.Type{object, cel.StringType}, cel.BoolType, cel.BinaryBinding(conditionWaits))),
		cel.Function("why", cel.MemberOverload("conditions_why",
			[]*cel.Type{object, cel.StringType}, cel.StringType, cel.BinaryBinding(conditionWhy))),
		cel.Function("reason", cel.MemberOverload("conditions_reason",
			[]*cel.Type{object, cel.StringType}, cel.StringType, cel.BinaryBinding(conditionReason))),
		// A macro would be needed to pass the generation along unasked.
		cel.Function("conditionsOf", cel.Overload("conditions_of",
			[]*cel.Type{cel.DynType, cel.IntType}, object, cel.BinaryBinding(conditionsOfMap))),
		cel.Function("join", cel.MemberOverload("list_join",
			[]*cel.Type{cel.ListType(cel.DynType), cel.StringType}, cel.StringType, cel.BinaryBinding(join))),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return &environment{env: env}, nil
}

// program compiles an expression that yields a type.
func (e *environment) program(source string, want *cel.Type) (*expression.Expression, error) {
	compiled, err := expression.Compile(e.env, source, costLimit, func(got *cel.Type) error {
		if !got.IsExactType(want) && !got.IsExactType(cel.DynType) {
			return fmt.Errorf("it yields %s, not %s", got, want)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", head(source), err)
	}
	return compiled, nil
}

// head is the beginning of a source that may be too long to be told.
func head(source string) string {
	const most = 200
	if len(source) <= most {
		return source
	}
	return source[:most] + "…"
}

// evaluate runs an expression that yields a T.
func evaluate[T any](ctx context.Context, e *expression.Expression, vars map[string]any) (T, error) {
	var zero T
	out, err := e.Evaluate(ctx, vars)
	if err != nil {
		return zero, err
	}
	value, ok := out.Value().(T)
	if !ok {
		return zero, fmt.Errorf("expression yielded %s", out.Type().TypeName())
	}
	return value, nil
}

// variables are what expressions see of an object.
func variables(object map[string]any) map[string]any {
	field := func(name string) any {
		if m, ok := object[name].(map[string]any); ok {
			return m
		}
		return map[string]any{}
	}
	stale, _ := notObserved(object)
	return map[string]any{
		"object":     object,
		"metadata":   field("metadata"),
		"spec":       field("spec"),
		"status":     field("status"),
		"generation": generation(object),
		"observed":   !stale,
		"conditions": func() any { return byType(conditionsOf(object)) },
	}
}

func byType(conditions []condition) map[string]any {
	m := make(map[string]any, len(conditions))
	for _, c := range conditions {
		m[c.kind] = map[string]any{
			"type": c.kind, "status": c.status, "reason": c.reason, "message": c.message, "stale": c.stale,
		}
	}
	return m
}

// lookUp finds a condition in a value of the variable conditions, or of
// conditionsOf.
func lookUp(conditions, kind ref.Val) (c condition, ok bool) {
	m, _ := conditions.Value().(map[string]any)
	name, _ := kind.Value().(string)
	fields, ok := m[name].(map[string]any)
	if !ok {
		return condition{}, false
	}
	c.kind = name
	c.status, _ = fields["status"].(string)
	c.reason, _ = fields["reason"].(string)
	c.message, _ = fields["message"].(string)
	c.stale, _ = fields["stale"].(bool)
	return c, true
}

func conditionIs(args ...ref.Val) ref.Val {
	c, ok := lookUp(args[0], args[1])
	return types.Bool(ok && !c.stale && args[2].Equal(types.String(c.status)) == types.True)
}

func conditionWaits(conditions, kind ref.Val) ref.Val {
	c, ok := lookUp(conditions, kind)
	return types.Bool(!ok || c.stale || c.status == "Unknown")
}

func conditionWhy(conditions, kind ref.Val) ref.Val {
	c, ok := lookUp(conditions, kind)
	if !ok {
		return types.String(fmt.Sprintf("there is no condition %v yet", kind.Value()))
	}
	return types.String(c.why())
}

func conditionReason(conditions, kind ref.Val) ref.Val {
	c, _ := lookUp(conditions, kind)
	return types.String(c.reason)
}

func conditionsOfMap(of, generation ref.Val) ref.Val {
	m, _ := of.Value().(map[string]any)
	list, _ := m["conditions"].([]any)
	n, _ := generation.Value().(int64)
	return types.DefaultTypeAdapter.NativeToValue(byType(parseConditions(list, n)))
}

// join joins what can be written as a string, up to the length of a message.
func join(list, separator ref.Val) ref.Val {
	items, ok := list.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	between, _ := separator.Value().(string)
	var out strings.Builder
	for it := items.Iterator(); it.HasNext() == types.True && out.Len() < maxMessage; {
		item := it.Next().ConvertToType(types.StringType)
		s, ok := item.Value().(string)
		if !ok {
			return item
		}
		if out.Len() > 0 {
			out.WriteString(between)
		}
		out.WriteString(s[:min(len(s), maxMessage)])
	}
	return types.String(out.String())
}

// concatenation turns "text ${expression} text" into one CEL expression.
func concatenation(template string) (string, error) {
	var parts []string
	for template != "" {
		text, rest, found := strings.Cut(template, "${")
		if text != "" {
			parts = append(parts, strconv.Quote(text))
		}
		if !found {
			break
		}
		end := closingBrace(rest)
		if end < 0 {
			return "", errors.New("message has ${ without }")
		}
		parts = append(parts, "string("+rest[:end]+")")
		template = rest[end+1:]
	}
	return strings.Join(parts, " + "), nil
}

// closingBrace finds the brace that ends an expression, past those of maps and
// of strings.
func closingBrace(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '"':
			i += quoted(s[i:])
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// quoted returns the offset of the quote that ends the string s begins with.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i
		}
	}
	return len(s)
}
