package policy

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/expression"
)

// costLimit bounds one evaluation, in CEL's units. A test of every field of
// 10,000 changes needs fewer.
const costLimit = 2_000_000

// rule is one rule of the policy file.
type rule struct {
	name     string
	level    mizzen.Level
	message  string
	remedy   string
	selector selector
	violated *expression.Expression
}

// newEnvironment declares what expressions see; docs/reference/policy.md tells
// the fields.
func newEnvironment() (*cel.Env, error) {
	list := cel.ListType(cel.MapType(cel.StringType, cel.DynType))
	env, err := cel.NewEnv(
		cel.OptionalTypes(),
		cel.Variable("changes", list),
		cel.Variable("effects", list),
		cel.Variable("findings", list),
		cel.Variable("application", cel.StringType),
		cel.Variable("applications", cel.ListType(cel.StringType)),
		cel.Variable("owners", cel.ListType(cel.StringType)),
		cel.Variable("files", cel.ListType(cel.StringType)),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return env, nil
}

// yields says what is wrong with the type of a rule's result. It must be a bool,
// or the list of the elements that are not as they should be.
func yields(got *cel.Type) error {
	switch got.Kind() {
	case cel.BoolKind, cel.ListKind, cel.DynKind:
		return nil
	}
	return fmt.Errorf("the expression yields %s, neither a bool nor a list", got)
}

// judge evaluates a rule and returns what triggered it, and its message. A rule
// that fails is triggered: what cannot be judged is not allowed.
func (r *rule) judge(ctx context.Context, f *facts) ([]hit, string) {
	if r.level == mizzen.LevelOff {
		return nil, ""
	}
	vars, elements := f.variables(r.selector)
	if len(elements) == 0 && !r.selector.empty() {
		return nil, ""
	}
	out, err := r.evaluate(ctx, f, vars)
	if err == nil {
		var triggered []hit
		if triggered, err = result(out, elements); err == nil {
			return triggered, r.message
		}
	}
	return everything(elements), r.message + " (the rule cannot be evaluated: " + err.Error() + ")"
}

// evaluate fails if the expression asks for what is not known as a whole: an
// answer about a part of the files would read as one about all.
func (r *rule) evaluate(ctx context.Context, f *facts, vars map[string]any) (ref.Val, error) {
	if f.in.FilesOmitted && r.violated.Names("files") {
		return nil, fmt.Errorf("more files change than the %d that it sees; split the change", len(f.in.Files))
	}
	return r.violated.Evaluate(ctx, vars)
}

func (s selector) empty() bool { return len(s.namespaces) == 0 && len(s.applications) == 0 }

// result reads what an expression yielded.
func result(out ref.Val, elements map[string]hit) ([]hit, error) {
	switch v := out.(type) {
	case types.Bool:
		if v {
			return everything(elements), nil
		}
		return nil, nil
	case traits.Lister:
		var hits []hit
		for it := v.Iterator(); it.HasNext() == types.True; {
			hits = append(hits, element(it.Next(), elements))
		}
		return hits, nil
	}
	return nil, fmt.Errorf("it yielded %s, neither a bool nor a list", out.Type().TypeName())
}

// element finds the hit behind an element of a list; a text is told as it is.
func element(v ref.Val, elements map[string]hit) hit {
	switch v := v.Value().(type) {
	case map[string]any:
		if id, ok := v["id"].(string); ok {
			if h, known := elements[id]; known {
				return h
			}
		}
	case string:
		return hit{trigger: mizzen.Trigger{Subject: v}}
	}
	return hit{trigger: mizzen.Trigger{Subject: "an element that the rule made"}}
}

// everything is what a rule that says only yes is about. It tells no triggers,
// since it does not say which of them it means.
func everything(elements map[string]hit) []hit {
	hits := []hit{{}}
	ids := make([]string, 0, len(elements))
	for id := range elements {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		h := elements[id]
		h.trigger = mizzen.Trigger{}
		hits = append(hits, h)
	}
	return hits
}
