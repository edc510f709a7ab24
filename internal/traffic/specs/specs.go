// Package specs reads the specs of objects into Istio's types: the values of a
// manifest come in, and a filled message goes out.
//
// Istio reads messages by way of JSON text, which takes as long as to analyze
// them. Here the values go straight into the fields of a message. Only what has
// one plain meaning goes that way; all else goes by Istio's, which decides what
// it means and words the error.
package specs

import (
	"encoding/json"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"istio.io/istio/pkg/config"
)

// Fill fills an empty spec with content as decoded JSON has it. The result is
// that of Istio's config.ApplyJSON: a field that the spec does not have is
// ignored, and one of a wrong type is an error.
func Fill(spec config.Spec, content any) error {
	if m, ok := spec.(proto.Message); ok {
		if message(m.ProtoReflect(), content) {
			return nil
		}
		proto.Reset(m)
	}
	b, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return config.ApplyJSON(spec, string(b))
}

// message fills an empty message. It returns false, as all below do, if the
// content is not plain; what is filled by then is of no use.
func message(m protoreflect.Message, content any) bool {
	if done, ok := wellKnown(m, content); ok {
		return done
	}
	values, _ := content.(map[string]any)
	if values == nil {
		return false
	}
	fields := m.Descriptor().Fields()
	for key, value := range values {
		fd := fields.ByJSONName(key)
		if fd == nil || !field(m, fd, value) {
			return false
		}
	}
	return true
}

func field(m protoreflect.Message, fd protoreflect.FieldDescriptor, value any) bool {
	if one := fd.ContainingOneof(); one != nil && m.WhichOneof(one) != nil {
		return false // which of the two counts is not for the order of a map to say
	}
	switch {
	case fd.IsList():
		values, ok := value.([]any)
		return ok && list(m.Mutable(fd).List(), fd, values)
	case fd.IsMap():
		values, ok := value.(map[string]any)
		return ok && table(m.Mutable(fd).Map(), fd, values)
	case fd.Message() != nil:
		return message(m.Mutable(fd).Message(), value)
	}
	v, ok := scalar(fd, value)
	if ok {
		m.Set(fd, v)
	}
	return ok
}

func list(to protoreflect.List, fd protoreflect.FieldDescriptor, values []any) bool {
	for _, value := range values {
		if fd.Message() != nil {
			if !message(to.AppendMutable().Message(), value) {
				return false
			}
			continue
		}
		v, ok := scalar(fd, value)
		if !ok {
			return false
		}
		to.Append(v)
	}
	return true
}

func table(to protoreflect.Map, fd protoreflect.FieldDescriptor, values map[string]any) bool {
	for name, value := range values {
		key, ok := mapKey(fd.MapKey(), name)
		if !ok {
			return false
		}
		if fd.MapValue().Message() != nil {
			if !message(to.Mutable(key).Message(), value) {
				return false
			}
			continue
		}
		v, ok := scalar(fd.MapValue(), value)
		if !ok {
			return false
		}
		to.Set(key, v)
	}
	return true
}
