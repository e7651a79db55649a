package validate

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// Registrar wraps a server so that a request which does not decode, because of
// invalid UTF-8 or broken wire form, answers MALFORMED_REQUEST. grpc-go itself
// calls that INTERNAL, before any interceptor can see it: a client's fault would
// count as ours.
func Registrar(server grpc.ServiceRegistrar) grpc.ServiceRegistrar { return registrar{server} }

type registrar struct{ server grpc.ServiceRegistrar }

// RegisterService registers a copy of desc whose unary handlers decode with
// typed errors.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, implementation any) {
	wrapped := *desc
	wrapped.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, method := range desc.Methods {
		handler := method.Handler
		method.Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			return handler(srv, ctx, func(message any) error { return decoded(decode, message) }, interceptor)
		}
		wrapped.Methods[i] = method
	}
	r.server.RegisterService(&wrapped, implementation)
}

// decoded has grpc-go decode a message. Other errors than those of decoding,
// such as a message that is too large, stay what they are.
func decoded(decode func(any) error, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return decode(message)
	}
	stand := standIn{Message: m.ProtoReflect()}
	if err := decode(&stand); err != nil {
		return err
	}
	if stand.err != nil {
		return apierror.New(apierror.ReasonMalformedRequest, "the request cannot be decoded: "+stand.err.Error(), apierror.WithCause(stand.err))
	}
	return nil
}

// standIn is decoded in a message's place and keeps the error. grpc-go sends a
// codec's error to the client by itself, whatever the handler makes of it
// afterwards; so the codec must not have one.
type standIn struct {
	protoreflect.Message
	err error
}

// ProtoReflect makes the stand-in a message.
func (s *standIn) ProtoReflect() protoreflect.Message { return s }

// Reset resets the message.
func (s *standIn) Reset() { proto.Reset(s.Message.Interface()) }

// ProtoMethods replaces how the message is decoded.
func (s *standIn) ProtoMethods() *protoiface.Methods { return &standInMethods }

var standInMethods = protoiface.Methods{
	Unmarshal: func(in protoiface.UnmarshalInput) (protoiface.UnmarshalOutput, error) {
		s := in.Message.(*standIn)
		s.err = proto.Unmarshal(in.Buf, s.Message.Interface())
		return protoiface.UnmarshalOutput{Flags: protoiface.UnmarshalInitialized}, nil
	},
}
