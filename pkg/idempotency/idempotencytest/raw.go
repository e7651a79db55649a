package idempotencytest

import (
	"fmt"

	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	gproto "google.golang.org/protobuf/proto"
)

// rawMessage is an answer as its bytes.
type rawMessage []byte

// rawCodec sends messages and receives bytes.
type rawCodec struct{}

// Marshal encodes a request.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(gproto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a message", v)
	}
	b, err := gproto.Marshal(m)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

// Unmarshal keeps the bytes.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*rawMessage) = data.Materialize()
	return nil
}

// Name is that of the codec it stands for.
func (rawCodec) Name() string { return proto.Name }
