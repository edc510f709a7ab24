package script

import (
	"encoding/json"
	"maps"
	"slices"

	lua "github.com/yuin/gopher-lua"
)

// maxDepth is how deep an object is shown to a script; Kubernetes itself
// refuses JSON that is much deeper.
const maxDepth = 128

// encode turns a JSON value into a Lua value. What is nested too deeply is nil.
func encode(l *lua.LState, value any, depth int) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case json.Number:
		return lua.LString(v)
	case []any:
		return encodeList(l, v, depth)
	case map[string]any:
		return encodeMap(l, v, depth)
	}
	return encodeNumber(value)
}

func encodeNumber(value any) lua.LValue {
	switch v := value.(type) {
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case int:
		return lua.LNumber(v)
	case int32:
		return lua.LNumber(v)
	}
	return lua.LNil
}

func encodeList(l *lua.LState, list []any, depth int) lua.LValue {
	if depth >= maxDepth {
		return lua.LNil
	}
	t := l.CreateTable(len(list), 0)
	for _, item := range list {
		t.Append(encode(l, item, depth+1))
	}
	return t
}

// encodeMap inserts in the order of keys, which is the order of pairs(). It
// leaves out managedFields, which no script reads and which are often the
// larger part of an object.
func encodeMap(l *lua.LState, m map[string]any, depth int) lua.LValue {
	if depth >= maxDepth {
		return lua.LNil
	}
	t := l.CreateTable(0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if depth == 1 && key == "managedFields" {
			continue
		}
		t.RawSetString(key, encode(l, m[key], depth+1))
	}
	return t
}
