package schema

import (
	"regexp"

	"mizzen.dev/mizzen"
)

// jsonType is a set of JSON types.
type jsonType uint8

const (
	object jsonType = 1 << iota
	array
	text
	integer
	number
	boolean
)

// names are in the order of the bits.
var typeNames = []string{"an object", "a list", "a string", "an integer", "a number", "true or false"}

// String returns "an integer or a string", "anything" for no type.
func (t jsonType) String() string {
	var s string
	for i, name := range typeNames {
		if t&(1<<i) == 0 {
			continue
		}
		if s != "" {
			s += " or "
		}
		s += name
	}
	if s == "" {
		return "anything"
	}
	return s
}

// typeOf returns the type of a decoded JSON value. A whole number written as
// 3.0 is an integer, as it is for the API server.
func typeOf(v any) jsonType {
	switch v := v.(type) {
	case map[string]any:
		return object
	case []any:
		return array
	case string:
		return text
	case bool:
		return boolean
	case int64, int, int32:
		return integer | number
	case float64:
		if v == float64(int64(v)) {
			return integer | number
		}
		return number
	}
	return 0
}

// node is one place of a schema. Most nodes of Kubernetes' schemas have no
// limits, so those stand apart.
type node struct {
	// types is what a value may be; 0 is anything.
	types    jsonType
	nullable bool
	// free objects keep fields that the schema does not know.
	free bool
	// shared nodes are part of several schemas.
	shared bool
	// metadata marks ObjectMeta, whose labels and annotations have a syntax.
	metadata bool
	// defaulted fields may be left out although they are required.
	defaulted bool
	fields    map[string]*node
	required  []string
	// values is the schema of a map's values.
	values *node
	items  *node
	// associative lists are merged by their elements, or by the keys of them.
	associative bool
	format      string
	limits      *limits
}

// limits are what a schema says of a value beyond its type.
type limits struct {
	enum                         []any
	pattern                      *regexp.Regexp
	minimum, maximum             *float64
	exclusiveMin, exclusiveMax   bool
	multipleOf                   *float64
	minLength, maxLength         *int64
	minItems, maxItems           *int64
	minProperties, maxProperties *int64
	allOf, anyOf, oneOf          []*node
	not                          *node
}

// walker goes through an object and its schema side by side.
type walker struct {
	// builtIn judges as Go types do: null is absent, and so is an empty
	// string where one of a few words is expected.
	builtIn bool
	// trying is set for one of several alternatives: only whether there is a
	// problem counts, so no message is made.
	trying bool
	// quiet leaves values out of messages.
	quiet bool
	// ordered looks at keys in their order, which takes longer.
	ordered bool
	// limit is how many problems to find before stopping.
	limit    int
	problems []Problem
	// path and above lead from the root to the value that is looked at.
	path  []step
	above []*node
	// status is set below the top-level field status: what is written there is
	// decoded, but nothing asks for it.
	status bool
}

// step is a key of a map, or an index of a list.
type step struct {
	key   string
	index int
}

const notAnIndex = -1

func (w *walker) at(key string) { w.path = append(w.path, step{key: key, index: notAnIndex}) }

func (w *walker) atIndex(i int) { w.path = append(w.path, step{index: i}) }

func (w *walker) back() { w.path = w.path[:len(w.path)-1] }

func (w *walker) full() bool { return len(w.problems) >= w.limit }

// here returns the path of the value that is looked at, n steps up from it.
func (w *walker) here(up int) mizzen.Path {
	var p mizzen.Path
	for _, s := range w.path[:len(w.path)-up] {
		if s.index == notAnIndex {
			p = p.Key(s.key)
		} else {
			p = p.Index(s.index)
		}
	}
	return p
}

// report adds what the API server refuses about the value that is looked at.
func (w *walker) report(code mizzen.Code, message func(at mizzen.Path) (message, remedy string)) {
	w.say(code, mizzen.Fatal, message)
}

// warn adds what the API server accepts but reads as something else.
func (w *walker) warn(code mizzen.Code, message func(at mizzen.Path) (message, remedy string)) {
	if !w.trying {
		w.say(code, mizzen.Warning, message)
	}
}

func (w *walker) say(code mizzen.Code, severity mizzen.Severity, message func(at mizzen.Path) (message, remedy string)) {
	if w.full() {
		return
	}
	p := Problem{Code: code, Severity: severity}
	if !w.trying {
		p.Path = w.here(0)
		p.Message, p.Remedy = message(p.Path)
	}
	w.problems = append(w.problems, p)
}
