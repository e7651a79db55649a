package idempotency_test

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

type fieldType = descriptorpb.FieldDescriptorProto_Type

const (
	typeString  = descriptorpb.FieldDescriptorProto_TYPE_STRING
	typeBytes   = descriptorpb.FieldDescriptorProto_TYPE_BYTES
	typeInt32   = descriptorpb.FieldDescriptorProto_TYPE_INT32
	typeSint64  = descriptorpb.FieldDescriptorProto_TYPE_SINT64
	typeUint64  = descriptorpb.FieldDescriptorProto_TYPE_UINT64
	typeFixed32 = descriptorpb.FieldDescriptorProto_TYPE_FIXED32
	typeDouble  = descriptorpb.FieldDescriptorProto_TYPE_DOUBLE
	typeFloat   = descriptorpb.FieldDescriptorProto_TYPE_FLOAT
	typeBool    = descriptorpb.FieldDescriptorProto_TYPE_BOOL
	typeMessage = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
)

// field describes one field of the test schema. Fields marked as next exist
// only in the release after this one.
type field struct {
	name     string
	number   int32
	kind     fieldType
	repeated bool
	of       string // message type
	next     bool
}

var schema = map[string][]field{
	"Request": {
		{name: "name", number: 1, kind: typeString},
		{name: "count", number: 2, kind: typeInt32},
		{name: "numbers", number: 3, kind: typeSint64, repeated: true},
		{name: "tags", number: 4, kind: typeMessage, of: "Request.TagsEntry", repeated: true},
		{name: "child", number: 5, kind: typeMessage, of: "Child"},
		{name: "children", number: 7, kind: typeMessage, of: "Child", repeated: true},
		{name: "ratio", number: 9, kind: typeDouble},
		{name: "names", number: 16, kind: typeString, repeated: true},
		{name: "limit", number: 20, kind: typeUint64},
		{name: "note", number: 6, kind: typeString, next: true},
		{name: "more", number: 8, kind: typeInt32, repeated: true, next: true},
		{name: "extra", number: 10, kind: typeMessage, of: "Child", next: true},
		{name: "flags", number: 17, kind: typeBool, repeated: true, next: true},
		{name: "share", number: 18, kind: typeFloat, next: true},
		{name: "lines", number: 19, kind: typeMessage, of: "Child", repeated: true, next: true},
	},
	"Child": {
		{name: "a", number: 1, kind: typeString},
		{name: "blob", number: 3, kind: typeBytes},
		{name: "nested", number: 4, kind: typeMessage, of: "Child"},
		{name: "later", number: 2, kind: typeFixed32, next: true},
	},
}

// requestIn returns the Request message of this release or of the next.
func requestIn(next bool) protoreflect.MessageDescriptor {
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3")}
	for _, name := range []string{"Request", "Child"} {
		m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
		for _, f := range schema[name] {
			if !f.next || next {
				m.Field = append(m.Field, f.proto(f.number))
			}
		}
		if name == "Request" {
			m.NestedType = []*descriptorpb.DescriptorProto{{
				Name: proto.String("TagsEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
				Field: []*descriptorpb.FieldDescriptorProto{
					field{name: "key", kind: typeString}.proto(1), field{name: "value", kind: typeMessage, of: "Child"}.proto(2),
				},
			}}
		}
		file.MessageType = append(file.MessageType, m)
	}
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		panic(err)
	}
	return fd.Messages().ByName("Request")
}

func (f field) proto(number int32) *descriptorpb.FieldDescriptorProto {
	p := &descriptorpb.FieldDescriptorProto{
		Name: proto.String(f.name), JsonName: proto.String(f.name), Number: proto.Int32(number), Type: f.kind.Enum(),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	if f.repeated {
		p.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	if f.of != "" {
		p.TypeName = proto.String(".test." + f.of)
	}
	return p
}

var requestNow, requestNext = requestIn(false), requestIn(true)

// drawMessage makes any message of a type.
func drawMessage(t *rapid.T, md protoreflect.MessageDescriptor, depth int) *dynamicpb.Message {
	m := dynamicpb.NewMessage(md)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if !rapid.Bool().Draw(t, "has "+fd.TextName()) {
			continue
		}
		switch {
		case fd.IsMap():
			for range rapid.IntRange(1, 4).Draw(t, "entries") {
				k := protoreflect.ValueOfString(rapid.String().Draw(t, "key")).MapKey()
				m.Mutable(fd).Map().Set(k, drawValue(t, fd.MapValue(), depth))
			}
		case fd.IsList():
			for range rapid.IntRange(1, 4).Draw(t, "elements") {
				m.Mutable(fd).List().Append(drawValue(t, fd, depth))
			}
		case fd.Kind() == protoreflect.MessageKind && depth > 2:
		default:
			m.Set(fd, drawValue(t, fd, depth))
		}
	}
	return m
}

func drawValue(t *rapid.T, fd protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(t, fd.TextName()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(t, fd.TextName()))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, fd.TextName()))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, fd.TextName()))
	case protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, fd.TextName()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, fd.TextName()))
	case protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, fd.TextName()))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(rapid.Float32Range(-math.MaxFloat32, math.MaxFloat32).Draw(t, fd.TextName()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, fd.TextName()))
	default:
		return protoreflect.ValueOfMessage(drawMessage(t, fd.Message(), depth+1))
	}
}

// wire encodes a message; deterministic or with maps in random order.
func wire(t testing.TB, m proto.Message, deterministic bool) []byte {
	b, err := proto.MarshalOptions{Deterministic: deterministic}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
