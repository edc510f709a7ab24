// Package expression runs CEL expressions that somebody else wrote: the source
// of an expression and the variables it may see come in, its value goes out.
// Both the work and the time of an evaluation are bounded.
//
// It is a foundation, no stage: health rules and the policy of a repository are
// written in such expressions, and neither knows the other.
package expression

import (
	"context"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// MaxSource bounds the source of an expression in bytes.
const MaxSource = 8 << 10

// Expression is compiled, and may be evaluated by several goroutines at once.
type Expression struct {
	program cel.Program
	names   map[string]bool
}

// Compile makes an expression ready. An evaluation of it ends with an error once
// it costs more than costLimit, in CEL's units: an operation costs about one, ten
// characters of a joined string another. yields says what is wrong with the type
// of the result, if anything is.
func Compile(env *cel.Env, source string, costLimit uint64, yields func(*cel.Type) error) (*Expression, error) {
	if len(source) > MaxSource {
		return nil, fmt.Errorf("the expression is longer than %d bytes", MaxSource)
	}
	checked, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if err := yields(checked.OutputType()); err != nil {
		return nil, err
	}
	// The check must be at every step: with a higher frequency the steps of an
	// inner loop can fall on every check, and the outer loops never end.
	program, err := env.Program(checked,
		cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit), cel.CostTracking(meter{}),
		cel.InterruptCheckFrequency(1))
	if err != nil {
		return nil, err
	}
	e := &Expression{program: program, names: map[string]bool{}}
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(part ast.Expr) {
		if part.Kind() == ast.IdentKind {
			e.names[part.AsIdent()] = true
		}
	}))
	return e, nil
}

// Names tells whether an expression looks at a variable. A local variable of the
// same name counts, too.
func (e *Expression) Names(variable string) bool { return e.names[variable] }

// Evaluate runs an expression over variables, until ctx is done.
func (e *Expression) Evaluate(ctx context.Context, variables map[string]any) (ref.Val, error) {
	out, _, err := e.program.ContextEval(ctx, variables)
	if err == nil {
		err = ctx.Err() // an interrupted loop may yield a value all the same
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// meter prices every call by the strings that go in and come out. CEL's own
// prices hang on the static type, and the fields of an object or of a map have
// none, so that doubling a string would cost as much as adding two numbers.
type meter struct{}

func (meter) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	read := 0
	for _, arg := range args {
		read += textLength(arg)
	}
	cost := 1 + read/100 + textLength(result)/10
	if function == "matches" && len(args) == 2 {
		cost += textLength(args[0]) * (1 + textLength(args[1])) / 100
	}
	price := uint64(cost)
	return &price
}

func textLength(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}
