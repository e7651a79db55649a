package shed

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// UnaryServerInterceptor lets calls in, or refuses them with OVERLOADED. It
// belongs behind what gives the call its deadline and says who calls, and before
// everything that costs.
func UnaryServerInterceptor(s *Shedder) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m := s.methods[info.FullMethod]
		if m == nil {
			return handler(ctx, request)
		}
		c, err := s.enter(ctx, m)
		if err != nil {
			return nil, err
		}
		whole := false // stays so if the handler panics
		defer func() { s.leave(c, whole) }()
		response, err := handler(c, request) //nolint:contextcheck // c is ctx, and knows what call it is
		whole = err == nil
		return response, err
	}
}

// StreamServerInterceptor does the same for the opening of streams, which is
// where they cost: until the handler sends its first message, or for a second if
// it takes longer to have something to say. How many streams are open is bounded
// by connections and by streams a connection, and is not what overloads: a
// stream that waits for news is a goroutine. Were it counted for as long as it
// lives, a few hundred idle watchers would fill the limit and shut out everybody
// else; and how long it lives tells nothing about load, so a stream teaches the
// limit nothing.
func StreamServerInterceptor(s *Shedder) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		m := s.methods[info.FullMethod]
		if m == nil {
			return handler(srv, stream)
		}
		c, err := s.enter(stream.Context(), m)
		if err != nil {
			return err
		}
		opened := func() { s.opened(c) }
		defer opened()
		timer := time.AfterFunc(longestOpening, opened)
		defer timer.Stop()
		return handler(srv, &openingStream{ServerStream: stream, ctx: c, opened: opened})
	}
}

// longestOpening is how long a stream counts as being opened at most.
const longestOpening = time.Second

// opened ends the opening of a stream, once.
func (s *Shedder) opened(c *call) {
	if c.end() {
		s.giveBack()
	}
}

// openingStream notices the first message.
type openingStream struct {
	grpc.ServerStream
	ctx    context.Context // grpc.ServerStream hands its context out by method
	opened func()
}

// Context is the stream's context.
func (s *openingStream) Context() context.Context { return s.ctx }

// SendMsg sends a message; with the first one the stream is open.
func (s *openingStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	s.opened()
	return err
}

// UnaryClientInterceptor tells the call that is being served that what it calls
// is [Outside]. It belongs outside everything that may wait.
func UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, name string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		defer Outside(ctx)()
		return invoker(ctx, name, request, reply, conn, opts...)
	}
}
