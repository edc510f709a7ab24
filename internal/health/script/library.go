package script

import (
	"maps"
	"math"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// library is what a script may call. Whatever reads the clock, draws lots,
// opens, loads or prints is absent, and so is everything that reaches around
// the environment of a run (metatables, getfenv, coroutines, pcall).
type library struct {
	base   map[string]lua.LValue
	tables map[string]map[string]lua.LValue
	names  []string
}

// fromBase are the functions of Lua's own base library that are harmless.
var fromBase = []string{"assert", "error", "ipairs", "next", "pairs", "rawequal", "tonumber", "type"}

func newLibrary(l *lua.LState, f *fuel) library {
	base := l.NewFunction(lua.OpenBase)
	l.Push(base)
	l.Call(0, 0)
	lib := library{base: map[string]lua.LValue{}}
	for _, name := range fromBase {
		lib.base[name] = l.GetGlobal(name)
	}
	add := func(functions map[string]lua.LGFunction) map[string]lua.LValue {
		values := make(map[string]lua.LValue, len(functions))
		for name, fn := range functions {
			values[name] = l.NewFunction(fn)
		}
		return values
	}
	maps.Copy(lib.base, add(map[string]lua.LGFunction{
		"tostring": toString,
		concatName: f.concat,
		keyName:    f.key,
	}))
	text := &texts{fuel: f, patterns: map[string]*pattern{}}
	lib.tables = map[string]map[string]lua.LValue{
		"string": add(text.functions()),
		"table":  add(f.tableFunctions()),
		"math":   add(mathFunctions),
		"os":     add(map[string]lua.LGFunction{"time": osTime}),
	}
	lib.tables["math"]["huge"] = lua.LNumber(math.Inf(1))
	lib.tables["math"]["pi"] = lua.LNumber(math.Pi)
	lib.names = slices.Sorted(maps.Keys(lib.tables))

	// s:find(…) looks here. The table is out of every script's reach.
	methods := fill(l, lib.tables["string"])
	meta := l.NewTable()
	meta.RawSetString("__index", methods)
	l.SetMetatable(lua.LString(""), meta)
	return lib
}

// environment returns fresh tables, so that a script may spoil them.
func (lib library) environment(l *lua.LState) *lua.LTable {
	env := fill(l, lib.base)
	for _, name := range lib.names {
		env.RawSetString(name, fill(l, lib.tables[name]))
	}
	return env
}

func fill(l *lua.LState, values map[string]lua.LValue) *lua.LTable {
	t := l.CreateTable(0, len(values))
	for name, v := range values {
		t.RawSetString(name, v)
	}
	return t
}

// toString is Lua's, without the addresses of tables and functions.
func toString(l *lua.LState) int {
	v := l.CheckAny(1)
	switch v.Type() {
	case lua.LTTable, lua.LTFunction, lua.LTUserData, lua.LTThread, lua.LTChannel:
		l.Push(lua.LString(v.Type().String()))
	default:
		l.Push(lua.LString(v.String()))
	}
	return 1
}

// concat is a..b..c.
func (f *fuel) concat(l *lua.LState) int {
	total := 0
	for i := 1; i <= l.GetTop(); i++ {
		if v := l.Get(i); !lua.LVCanConvToString(v) {
			l.RaiseError("attempt to concatenate a %s value", v.Type())
		}
		total += len(l.Get(i).String())
	}
	f.charge(l, total)
	joined := make([]byte, 0, total)
	for i := 1; i <= l.GetTop(); i++ {
		joined = append(joined, l.Get(i).String()...)
	}
	l.Push(lua.LString(joined))
	return 1
}

// key is the k of t[k] = v: a number beyond the end of t would fill the gap.
func (f *fuel) key(l *lua.LState) int {
	key := l.Get(2)
	if n, ok := key.(lua.LNumber); ok && n > 0 && int(n) < lua.MaxArrayIndex {
		f.chargeGap(l, l.Get(1), int(n))
	}
	l.Push(key)
	return 1
}

// chargeGap pays for the values that setting an index of a table adds to it.
func (f *fuel) chargeGap(l *lua.LState, table lua.LValue, index int) {
	gap := index
	if t, ok := table.(*lua.LTable); ok {
		gap -= t.Len() + 1
	}
	const bytesPerValue = 16
	f.charge(l, max(0, gap)*bytesPerValue)
}

func (f *fuel) tableFunctions() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"concat": f.tableConcat,
		"insert": f.tableInsert,
		"remove": f.tableRemove,
		"sort":   f.tableSort,
		"getn": func(l *lua.LState) int {
			l.Push(lua.LNumber(l.CheckTable(1).Len()))
			return 1
		},
		"maxn": func(l *lua.LState) int {
			l.Push(lua.LNumber(l.CheckTable(1).MaxN()))
			return 1
		},
	}
}

func (f *fuel) tableConcat(l *lua.LState) int {
	t := l.CheckTable(1)
	separator := l.OptString(2, "")
	from, to := max(1, l.OptInt(3, 1)), min(t.Len(), l.OptInt(4, t.Len()))
	var joined []byte
	for i := from; i <= to; i++ {
		v := t.RawGetInt(i)
		if !lua.LVCanConvToString(v) {
			l.RaiseError("invalid value (%s) at index %d in table for concat", v.Type(), i)
		}
		piece := v.String()
		f.charge(l, len(piece)+len(separator)+8)
		if i > from {
			joined = append(joined, separator...)
		}
		joined = append(joined, piece...)
	}
	l.Push(lua.LString(joined))
	return 1
}

func (f *fuel) tableInsert(l *lua.LState) int {
	t := l.CheckTable(1)
	switch l.GetTop() {
	case 2:
		t.Append(l.Get(2))
	case 3:
		at := l.CheckInt(2)
		f.charge(l, t.Len())
		f.chargeGap(l, t, at)
		t.Insert(at, l.Get(3))
	default:
		l.RaiseError("wrong number of arguments to insert")
	}
	return 0
}

func (f *fuel) tableRemove(l *lua.LState) int {
	t := l.CheckTable(1)
	f.charge(l, t.Len())
	l.Push(t.Remove(l.OptInt(2, -1)))
	return 1
}

// tableSort sorts in place; without a function by "<", which must be defined
// between all elements.
func (f *fuel) tableSort(l *lua.LState) int {
	t := l.CheckTable(1)
	less := l.OptFunction(2, nil)
	values := make([]lua.LValue, 0, t.Len())
	for i := 1; i <= t.Len(); i++ {
		values = append(values, t.RawGetInt(i))
	}
	slices.SortStableFunc(values, func(a, b lua.LValue) int {
		f.charge(l, 8)
		switch {
		case before(l, less, a, b):
			return -1
		case before(l, less, b, a):
			return 1
		}
		return 0
	})
	for i, v := range values {
		t.RawSetInt(i+1, v)
	}
	return 0
}

func before(l *lua.LState, less *lua.LFunction, a, b lua.LValue) bool {
	if less == nil {
		if a.Type() != b.Type() || a.Type() != lua.LTNumber && a.Type() != lua.LTString {
			l.RaiseError("attempt to compare %s with %s", a.Type(), b.Type())
		}
		return l.LessThan(a, b)
	}
	l.Push(less)
	l.Push(a)
	l.Push(b)
	l.Call(2, 1)
	result := l.Get(-1)
	l.Pop(1)
	return lua.LVAsBool(result)
}

var mathFunctions = map[string]lua.LGFunction{
	"abs":   unary(math.Abs),
	"ceil":  unary(math.Ceil),
	"floor": unary(math.Floor),
	"sqrt":  unary(math.Sqrt),
	"fmod":  binary(math.Mod),
	"pow":   binary(math.Pow),
	"max":   fold(math.Max),
	"min":   fold(math.Min),
}

func unary(fn func(float64) float64) lua.LGFunction {
	return func(l *lua.LState) int {
		l.Push(lua.LNumber(fn(float64(l.CheckNumber(1)))))
		return 1
	}
}

func binary(fn func(a, b float64) float64) lua.LGFunction {
	return func(l *lua.LState) int {
		l.Push(lua.LNumber(fn(float64(l.CheckNumber(1)), float64(l.CheckNumber(2)))))
		return 1
	}
}

func fold(fn func(a, b float64) float64) lua.LGFunction {
	return func(l *lua.LState) int {
		result := float64(l.CheckNumber(1))
		for i := 2; i <= l.GetTop(); i++ {
			result = fn(result, float64(l.CheckNumber(i)))
		}
		l.Push(lua.LNumber(result))
		return 1
	}
}

// osTime converts a table of year, month and so on to seconds since 1970, in
// UTC. Without a table it would be the clock, which would make a judgement
// depend on when it is asked for.
func osTime(l *lua.LState) int {
	t, ok := l.Get(1).(*lua.LTable)
	if !ok {
		l.RaiseError("os.time needs a table: scripts have no clock")
	}
	field := func(name string, otherwise int) int {
		v := t.RawGetString(name)
		if n, ok := v.(lua.LNumber); ok {
			return int(n)
		}
		if s, ok := v.(lua.LString); ok {
			if n, ok := number(string(s)); ok {
				return n
			}
		}
		return otherwise
	}
	at := time.Date(field("year", 1970), time.Month(field("month", 1)), field("day", 1),
		field("hour", 12), field("min", 0), field("sec", 0), 0, time.UTC)
	l.Push(lua.LNumber(at.Unix()))
	return 1
}
