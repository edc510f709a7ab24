package script

import (
	"context"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// fuel counts what a run may still do. The Lua machine asks its context before
// each instruction whether it is done, so a context that counts the questions
// stops a script after a fixed number of steps, whatever the clock says.
type fuel struct {
	left   int
	parent context.Context // replaced for each run
	err    error
}

var (
	_     context.Context = (*fuel)(nil)
	spent                 = closed()
)

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (f *fuel) fill(ctx context.Context, n int) { f.left, f.parent, f.err = n, ctx, nil }

// Done is closed once the fuel is spent or the caller gave up.
func (f *fuel) Done() <-chan struct{} {
	f.burn(1)
	if f.err != nil {
		return spent
	}
	return nil
}

// burn takes n off. The caller's context is asked now and then only, since it
// costs more than an instruction.
func (f *fuel) burn(n int) {
	before := f.left
	f.left -= n
	switch {
	case f.err != nil:
	case f.left <= 0:
		f.err = ErrBudget
	case before>>8 != f.left>>8:
		f.err = f.parent.Err()
	}
}

// charge pays for n bytes that a library function reads or makes, before it
// does, and ends the script if they cannot be paid for.
func (f *fuel) charge(l *lua.LState, n int) {
	f.burn(n / 8)
	if f.err != nil {
		l.RaiseError("%s", f.err.Error())
	}
}

// Err says why Done is closed.
func (f *fuel) Err() error { return f.err }

// Deadline is the caller's.
func (f *fuel) Deadline() (time.Time, bool) { return f.parent.Deadline() }

// Value is the caller's.
func (f *fuel) Value(key any) any { return f.parent.Value(key) }
