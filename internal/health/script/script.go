// Package script runs small Lua programs that judge one Kubernetes object, in
// the dialect of Argo CD's health scripts: the global obj goes in, a table with
// status and message comes out.
//
// A script sees nothing but that object. It has no files, clock, randomness,
// modules or output; it cannot touch what a later run sees; and both its steps
// and the bytes of the strings it makes are counted, so that it ends, with the
// same answer, on every machine.
package script

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// ErrBudget is returned by Run when a script took more steps, or made longer
// strings, than it may. It says the same however fast the machine is.
var ErrBudget = errors.New("script exceeded its budget")

const (
	// budget is the fuel of one run: an instruction costs one, and so do eight
	// bytes of a string that is made or searched. The longest script of Argo
	// CD's corpus needs about 40 per condition of an object.
	budget = 1 << 19
	// maxSource bounds the length of a script in bytes.
	maxSource = 64 << 10
	// callDepth and maxStack bound the calls and values of a run.
	callDepth = 100
	maxStack  = 4096
)

// Script is a compiled program. It is immutable and safe for concurrent use.
type Script struct {
	name  string
	proto *lua.FunctionProto
}

// Result is what a script said.
type Result struct {
	// Status is empty if the script has no opinion.
	Status  string
	Message string
}

// Compile prepares a script; name is used in error messages. It refuses what
// cannot be bounded: vararg functions, and sources beyond 64 KiB.
func Compile(name, source string) (*Script, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("%s: script is longer than %d bytes", name, maxSource)
	}
	chunk, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var r rewriter
	r.stmts(chunk)
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", name, r.err)
	}
	proto, err := lua.Compile(chunk, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Script{name: name, proto: proto}, nil
}

// Run judges an object, which is not changed. It fails with ErrBudget, with
// the context's error, or with what the script itself stumbled over.
func (s *Script) Run(ctx context.Context, obj map[string]any) (Result, error) {
	m, ok := machines.Get().(*machine)
	if !ok {
		return Result{}, errors.New("script: pool holds no machine")
	}
	value, err := m.run(ctx, s.proto, obj)
	if err != nil {
		// The machine was left in the middle of something: let it go.
		return Result{}, fmt.Errorf("%s: %w", s.name, err)
	}
	result, err := decodeResult(value)
	machines.Put(m)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.name, err)
	}
	return result, nil
}

var machines = sync.Pool{New: func() any { return newMachine() }}

// machine is a Lua state that runs one script after another. Each run gets an
// environment of its own with copies of the libraries, so nothing that a
// script assigns outlives it.
type machine struct {
	state *lua.LState
	fuel  *fuel
	lib   library
}

func newMachine() *machine {
	m := &machine{
		state: lua.NewState(lua.Options{
			SkipOpenLibs:        true,
			CallStackSize:       callDepth,
			RegistrySize:        256,
			RegistryMaxSize:     maxStack,
			RegistryGrowStep:    256,
			MinimizeStackMemory: true,
		}),
		fuel: &fuel{},
	}
	m.lib = newLibrary(m.state, m.fuel)
	m.state.SetContext(m.fuel)
	return m
}

func (m *machine) run(ctx context.Context, proto *lua.FunctionProto, obj map[string]any) (v lua.LValue, err error) {
	m.fuel.fill(ctx, budget)
	env := m.lib.environment(m.state)
	env.RawSetString("obj", encode(m.state, obj, 0))
	fn := m.state.NewFunctionFromProto(proto)
	fn.Env = env
	if err := m.state.CallByParam(lua.P{Fn: fn, NRet: 1, Protect: true}); err != nil {
		if m.fuel.err != nil {
			return nil, m.fuel.err
		}
		return nil, plain(err)
	}
	v = m.state.Get(-1)
	m.state.SetTop(0)
	return v, nil
}

// plain strips the stack trace, which tells a user nothing.
func plain(err error) error {
	var api *lua.ApiError
	if !errors.As(err, &api) {
		return err
	}
	if message, ok := api.Object.(lua.LString); ok {
		return errors.New(string(message))
	}
	return errors.New("script raised an error without words")
}

func decodeResult(v lua.LValue) (Result, error) {
	switch v := v.(type) {
	case *lua.LNilType:
		return Result{}, nil
	case *lua.LTable:
		return Result{
			Status:  text(v.RawGetString("status")),
			Message: text(v.RawGetString("message")),
		}, nil
	default:
		return Result{}, fmt.Errorf("script returned a %s instead of a table", v.Type())
	}
}

func text(v lua.LValue) string {
	switch v.(type) {
	case lua.LString, lua.LNumber:
		return v.String()
	}
	return ""
}
