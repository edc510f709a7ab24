package script

import (
	"errors"
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// What a..b and the k of t[k] = v are turned into calls of. They are no Lua
// identifiers, so a script can neither call nor replace them.
const (
	concatName = "<concat>"
	keyName    = "<key>"
)

var (
	errVararg = errors.New("a vararg (...) cannot be bounded and is refused")
	errTarget = errors.New("an assignment to f()[key] is refused; assign to a variable's field")
)

// rewriter replaces the two instructions whose cost has no bound by calls that
// pay for the bytes they make: with the plain ones, thirty steps of s = s..s
// make a gigabyte, and so does a single t[60000000] = 1.
type rewriter struct {
	err error
}

func (r *rewriter) stmts(list []ast.Stmt) {
	for _, s := range list {
		r.stmt(s)
	}
}

func (r *rewriter) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		r.exprs(s.Lhs)
		r.exprs(s.Rhs)
		r.targets(s.Lhs)
	case *ast.LocalAssignStmt:
		r.exprs(s.Exprs)
	case *ast.FuncCallStmt:
		r.expr(&s.Expr)
	case *ast.FuncDefStmt:
		r.function(s.Func)
		r.expr(&s.Name.Func)
		r.expr(&s.Name.Receiver)
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	case *ast.BreakStmt, *ast.LabelStmt, *ast.GotoStmt:
	default:
		r.block(s)
	}
}

func (r *rewriter) block(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.DoBlockStmt:
		r.stmts(s.Stmts)
	case *ast.WhileStmt:
		r.expr(&s.Condition)
		r.stmts(s.Stmts)
	case *ast.RepeatStmt:
		r.expr(&s.Condition)
		r.stmts(s.Stmts)
	case *ast.IfStmt:
		r.expr(&s.Condition)
		r.stmts(s.Then)
		r.stmts(s.Else)
	case *ast.NumberForStmt:
		r.expr(&s.Init)
		r.expr(&s.Limit)
		r.expr(&s.Step)
		r.stmts(s.Stmts)
	case *ast.GenericForStmt:
		r.exprs(s.Exprs)
		r.stmts(s.Stmts)
	default:
		// Something new in the parser would pass unbounded: refuse it.
		r.err = fmt.Errorf("unknown statement %T", s)
	}
}

func (r *rewriter) exprs(list []ast.Expr) {
	for i := range list {
		r.expr(&list[i])
	}
}

// expr walks an expression and replaces it in place.
func (r *rewriter) expr(at *ast.Expr) {
	switch e := (*at).(type) {
	case nil:
	case *ast.StringConcatOpExpr:
		*at = r.concat(e)
	case *ast.Comma3Expr:
		r.err = errVararg
	case *ast.FunctionExpr:
		r.function(e)
	case *ast.AttrGetExpr:
		r.expr(&e.Object)
		r.expr(&e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			r.expr(&f.Key)
			r.expr(&f.Value)
			r.key(&ast.NilExpr{}, &f.Key)
		}
	case *ast.FuncCallExpr:
		r.expr(&e.Func)
		r.expr(&e.Receiver)
		r.exprs(e.Args)
	default:
		r.operator(e)
	}
}

func (r *rewriter) operator(e ast.Expr) {
	switch e := e.(type) {
	case *ast.LogicalOpExpr:
		r.expr(&e.Lhs)
		r.expr(&e.Rhs)
	case *ast.RelationalOpExpr:
		r.expr(&e.Lhs)
		r.expr(&e.Rhs)
	case *ast.ArithmeticOpExpr:
		r.expr(&e.Lhs)
		r.expr(&e.Rhs)
	case *ast.UnaryMinusOpExpr:
		r.expr(&e.Expr)
	case *ast.UnaryNotOpExpr:
		r.expr(&e.Expr)
	case *ast.UnaryLenOpExpr:
		r.expr(&e.Expr)
	case *ast.TrueExpr, *ast.FalseExpr, *ast.NilExpr, *ast.NumberExpr, *ast.StringExpr, *ast.IdentExpr:
	default:
		r.err = fmt.Errorf("unknown expression %T", e)
	}
}

func (r *rewriter) function(f *ast.FunctionExpr) {
	if f.ParList != nil && f.ParList.HasVargs {
		r.err = errVararg
	}
	r.stmts(f.Stmts)
}

// concat flattens a..b..c, which the parser nests to the right, into one call.
// AdjustRet makes its value a single one wherever it stands.
func (r *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	var args []ast.Expr
	var last ast.Expr = e
	for {
		op, ok := last.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		args = append(args, op.Lhs)
		last = op.Rhs
	}
	args = append(args, last)
	for i := range args {
		r.expr(&args[i])
		// A call in the last place would otherwise pass all its results.
		if call, ok := args[i].(*ast.FuncCallExpr); ok {
			call.AdjustRet = true
		}
	}
	return newCall(concatName, e, args...)
}

// targets guards the keys of the fields that are assigned to.
func (r *rewriter) targets(list []ast.Expr) {
	for _, e := range list {
		if field, ok := e.(*ast.AttrGetExpr); ok {
			r.key(field.Object, &field.Key)
		}
	}
}

// key turns t[k] into t[<key>(t, k)], unless k is a constant string. Since t is
// then evaluated twice, it may only be a variable or a field of one.
func (r *rewriter) key(table ast.Expr, at *ast.Expr) {
	if _, constant := (*at).(*ast.StringExpr); constant || *at == nil {
		return
	}
	if !pure(table) {
		r.err = errTarget
	}
	*at = newCall(keyName, *at, table, *at)
}

// pure tells whether an expression can be evaluated twice. No script can set a
// metatable, so reading a field has no effect.
func pure(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.IdentExpr, *ast.StringExpr, *ast.NumberExpr, *ast.NilExpr:
		return true
	case *ast.AttrGetExpr:
		return pure(e.Object) && pure(e.Key)
	}
	return false
}

// newCall calls one of our own functions for a single value, at the place of
// another expression.
func newCall(name string, at ast.PositionHolder, args ...ast.Expr) *ast.FuncCallExpr {
	fn := &ast.IdentExpr{Value: name}
	call := &ast.FuncCallExpr{Func: fn, Args: args, AdjustRet: true}
	for _, node := range []ast.PositionHolder{fn, call} {
		node.SetLine(at.Line())
		node.SetLastLine(at.LastLine())
	}
	return call
}
