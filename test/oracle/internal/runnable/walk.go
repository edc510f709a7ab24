package runnable

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// walk calls visit with m and each message within, also those packed into Any,
// which are packed anew afterwards. An Any of a type that is not linked in is
// left as it is.
func walk(m proto.Message, visit func(proto.Message)) error {
	visit(m)
	if packed, ok := m.(*anypb.Any); ok {
		return walkAny(packed, visit)
	}
	var failed error
	each := func(v protoreflect.Value) {
		if err := walk(v.Message().Interface(), visit); err != nil {
			failed = err
		}
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, x protoreflect.Value) bool { each(x); return true })
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				each(v.List().Get(i))
			}
		default:
			each(v)
		}
		return failed == nil
	})
	return failed
}

func walkAny(packed *anypb.Any, visit func(proto.Message)) error {
	inner, err := packed.UnmarshalNew()
	if err != nil {
		return nil
	}
	if err := walk(inner, visit); err != nil {
		return err
	}
	return packed.MarshalFrom(inner)
}
