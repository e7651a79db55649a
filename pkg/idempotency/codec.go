package idempotency

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	gproto "google.golang.org/protobuf/proto"
)

// Codec returns the "proto" codec for servers, for grpc.ForceServerCodecV2. It
// is grpc's own, except that a stored answer goes out as the bytes that were
// stored: decoding and encoding them again may order fields differently or, on
// a server of another version, lose some.
func Codec() encoding.CodecV2 {
	return codec{encoding.GetCodecV2(proto.Name)}
}

type codec struct{ encoding.CodecV2 }

// Marshal returns the stored bytes of a stored answer.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*storedAnswer); ok {
		return mem.BufferSlice{mem.SliceBuffer(a.raw)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// storedAnswer is a response with its stored bytes. It is still the message
// that the handler returned, for interceptors further out.
type storedAnswer struct {
	gproto.Message
	raw []byte
}
