package service

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// A request that cannot be decoded is the client's fault, but grpc-go answers
// INTERNAL, and it sends that answer before any interceptor or handler hears of
// it. So decoding never fails here: handlers receive into an [arrival], the
// codec notes in it what is wrong, and the error is returned from where it can
// be typed.

// arrival is a request and how decoding it went.
type arrival struct {
	request any
	err     error
}

// decodingCodec is a codec whose Unmarshal fills in arrivals.
type decodingCodec struct {
	encoding.CodecV2
	limit int // of one message, in bytes
}

// Unmarshal decodes into v.
func (c decodingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*arrival)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if data.Len() > c.limit {
		a.err = apierror.New(apierror.ReasonMessageTooLarge, "the request is larger than "+bytesInWords(int64(c.limit)))
	} else if err := c.CodecV2.Unmarshal(data, a.request); err != nil {
		a.err = apierror.New(apierror.ReasonMalformedRequest, "the request cannot be decoded: "+explainProto(err), apierror.WithCause(err))
	}
	return nil
}

// arrivals registers services whose unary handlers receive into arrivals.
type arrivals struct{ server grpc.ServiceRegistrar }

// RegisterService registers a copy of the description with wrapped handlers.
func (r arrivals) RegisterService(desc *grpc.ServiceDesc, implementation any) {
	wrapped := *desc
	wrapped.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, method := range desc.Methods {
		handler := method.Handler
		method.Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			return handler(srv, ctx, func(request any) error {
				a := arrival{request: request}
				if err := decode(&a); err != nil {
					return err
				}
				return a.err
			}, interceptor)
		}
		wrapped.Methods[i] = method
	}
	r.server.RegisterService(&wrapped, implementation)
}

// receive is RecvMsg of a stream, by way of an arrival.
func receive(stream grpc.ServerStream, request any) error {
	a := arrival{request: request}
	if err := stream.RecvMsg(&a); err != nil {
		return err
	}
	return a.err
}
