package specs

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// scalar returns a value of the kind of a field, or of the elements of a list
// or map.
func scalar(fd protoreflect.FieldDescriptor, value any) (protoreflect.Value, bool) {
	switch v := value.(type) {
	case string:
		return text(fd, v)
	case bool:
		return protoreflect.ValueOfBool(v), fd.Kind() == protoreflect.BoolKind
	case int64:
		return integer(fd, v)
	case float64:
		return protoreflect.ValueOfFloat64(v), fd.Kind() == protoreflect.DoubleKind && finite(v)
	}
	return protoreflect.Value{}, false
}

// mapKey returns the key of a map's entry, which JSON writes as text.
func mapKey(fd protoreflect.FieldDescriptor, name string) (protoreflect.MapKey, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(name).MapKey(), utf8.ValidString(name)
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(name, 10, 32)
		plain := err == nil && strconv.FormatUint(n, 10) == name
		return protoreflect.ValueOfUint32(uint32(n)).MapKey(), plain
	}
	return protoreflect.MapKey{}, false
}

func text(fd protoreflect.FieldDescriptor, value string) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(value), utf8.ValidString(value)
	case protoreflect.EnumKind:
		if known := fd.Enum().Values().ByName(protoreflect.Name(value)); known != nil {
			return protoreflect.ValueOfEnum(known.Number()), true
		}
	}
	return protoreflect.Value{}, false
}

func integer(fd protoreflect.FieldDescriptor, value int64) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(value)), math.MinInt32 <= value && value <= math.MaxInt32
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(value)), 0 <= value && value <= math.MaxUint32
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(value), true
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(value)), value >= 0
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(value)), true
	}
	return protoreflect.Value{}, false
}

// finite tells whether JSON has the number.
func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// wellKnown fills the messages that JSON writes as something else than an
// object of their fields. known is false for any other.
//
// https://protobuf.dev/programming-guides/json/
func wellKnown(m protoreflect.Message, content any) (done, known bool) {
	if m.Descriptor().ParentFile().Package() != "google.protobuf" {
		return false, false
	}
	switch to := m.Interface().(type) {
	case *durationpb.Duration:
		return duration(to, content), true
	case *structpb.Struct:
		return structure(to, content), true
	case *structpb.Value:
		return anything(to, content), true
	case *wrapperspb.BoolValue, *wrapperspb.StringValue, *wrapperspb.DoubleValue,
		*wrapperspb.Int32Value, *wrapperspb.UInt32Value, *wrapperspb.Int64Value, *wrapperspb.UInt64Value:
		fd := m.Descriptor().Fields().ByName("value")
		v, ok := scalar(fd, content)
		if ok {
			m.Set(fd, v)
		}
		return ok, true
	}
	return false, true
}

func duration(to *durationpb.Duration, content any) bool {
	written, ok := content.(string)
	if !ok {
		return false
	}
	d, err := time.ParseDuration(written)
	if err != nil {
		return false
	}
	to.Seconds, to.Nanos = int64(d/time.Second), int32(d%time.Second)
	return true
}

func structure(to *structpb.Struct, content any) bool {
	values, _ := content.(map[string]any)
	if values == nil {
		return false
	}
	to.Fields = make(map[string]*structpb.Value, len(values))
	for key, value := range values {
		v := &structpb.Value{}
		if !utf8.ValidString(key) || !anything(v, value) {
			return false
		}
		to.Fields[key] = v
	}
	return true
}

// anything fills the message of a value that has any type.
func anything(to *structpb.Value, content any) bool {
	switch v := content.(type) {
	case nil:
		to.Kind = &structpb.Value_NullValue{}
	case bool:
		to.Kind = &structpb.Value_BoolValue{BoolValue: v}
	case int64:
		to.Kind = &structpb.Value_NumberValue{NumberValue: float64(v)}
	case float64:
		to.Kind = &structpb.Value_NumberValue{NumberValue: v}
		return finite(v)
	case string:
		to.Kind = &structpb.Value_StringValue{StringValue: v}
		return utf8.ValidString(v)
	case map[string]any:
		fields := &structpb.Struct{}
		to.Kind = &structpb.Value_StructValue{StructValue: fields}
		return structure(fields, v)
	case []any:
		values := &structpb.ListValue{}
		to.Kind = &structpb.Value_ListValue{ListValue: values}
		return elements(values, v)
	default:
		return false
	}
	return true
}

func elements(to *structpb.ListValue, values []any) bool {
	for _, value := range values {
		v := &structpb.Value{}
		if !anything(v, value) {
			return false
		}
		to.Values = append(to.Values, v)
	}
	return true
}
