package effect

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// difference tells two messages of one type apart by field, in Envoy's names,
// bounded. It is for what has no words of its own.
func difference(b, a proto.Message) (before, after string) {
	var x, y fields
	flatten("", b.ProtoReflect(), &x, 0)
	flatten("", a.ProtoReflect(), &y, 0)
	before, after = changed(x, y)
	return clip(before), clip(after)
}

// clip bounds a text that nobody wrote for readers.
func clip(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}

// deepest bounds how far flatten goes; what is below is told as a whole.
const deepest = 12

func flatten(at string, m protoreflect.Message, to *fields, depth int) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		if inner, err := a.UnmarshalNew(); err == nil {
			flatten(at, inner.ProtoReflect(), to, depth+1)
			return
		}
		to.set(at, fmt.Sprintf("%s of %d bytes", a.GetTypeUrl(), len(a.GetValue())))
		return
	}
	if depth > deepest {
		to.set(at, plain(m.Interface()))
		return
	}
	// The order of the descriptor is stable; that of Range is not.
	list := m.Descriptor().Fields()
	for i := range list.Len() {
		fd := list.Get(i)
		if !m.Has(fd) {
			continue
		}
		name := strings.TrimPrefix(at+"."+string(fd.Name()), ".")
		if fd.Name() == "typed_config" {
			name = at
		}
		flattenField(name, fd, m.Get(fd), to, depth)
	}
}

// shortFilter leaves out what the names of Envoy's filters share.
var shortFilter = strings.NewReplacer("envoy.filters.http.", "", "envoy.filters.network.", "", "envoy.filters.listener.", "")

// element names an element of a list by its name, if its type has one, so that
// one more or less does not move the others.
func element(fd protoreflect.FieldDescriptor, v protoreflect.Value, i int) string {
	if fd.Message() != nil {
		if name := fd.Message().Fields().ByName("name"); name != nil && name.Kind() == protoreflect.StringKind {
			return shortFilter.Replace(v.Message().Get(name).String())
		}
	}
	return fmt.Sprint(i)
}

func flattenField(name string, fd protoreflect.FieldDescriptor, v protoreflect.Value, to *fields, depth int) {
	one := func(name string, v protoreflect.Value, message bool) {
		if message {
			n := len(*to)
			flatten(name, v.Message(), to, depth+1)
			if len(*to) == n {
				to.set(name, "set")
			}
			return
		}
		to.set(name, v.String())
	}
	switch {
	case fd.IsList():
		for i := range v.List().Len() {
			one(name+"["+element(fd, v.List().Get(i), i)+"]", v.List().Get(i), fd.Message() != nil)
		}
	case fd.IsMap():
		values := map[string]protoreflect.Value{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			values[k.String()] = v
			return true
		})
		for _, k := range sortedKeys(values) {
			one(name+"["+k+"]", values[k], fd.MapValue().Message() != nil)
		}
	default:
		one(name, v, fd.Message() != nil)
	}
}
