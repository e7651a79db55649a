package service

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/health"
)

// endings are how a server tells what it carries that the end is near: first that
// it drains, and when the time for that is nearly over, that what is left is about
// to be cut off.
type endings struct{ draining, cutOff <-chan struct{} }

// in returns a context in which [Draining] and [CutOff] find them.
func (e endings) in(ctx context.Context) context.Context {
	return context.WithValue(health.WithDraining(ctx, e.draining), cutOffKey{}, e.cutOff)
}

type cutOffKey struct{}

// CutOff returns a channel that is closed when the stream or route of this context
// is about to be cut off: the time of a drain is nearly over (by
// HOLDFAST_CUT_OFF_BEFORE). A handler that may last that long selects on it, says
// in its last message that and why it ends, and returns. In services with
// [Definition.LongCalls] unary calls have it as well. It is nil, and never ready,
// outside a server.
//
// [Draining] asks to end at the next good moment; this says that there is none
// left.
func CutOff(ctx context.Context) <-chan struct{} {
	cutting, _ := ctx.Value(cutOffKey{}).(<-chan struct{})
	return cutting
}

// beforeEnd calls f when ctx, which has a deadline, is so close to it. The caller
// calls stop when it is not needed any more.
func beforeEnd(ctx context.Context, lead time.Duration, f func()) (stop func()) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() {}
	}
	timer := time.AfterFunc(time.Until(deadline)-lead, f)
	return func() { timer.Stop() }
}

// withEndings tells handlers of streams when to end; see [Draining] and [CutOff].
// Health is told of drains alone: a client that watches it is not to believe,
// because its connection is old, that the server is gone.
func (c chain) withEndings(now func() endings) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ends := now()
		if left, known := c.life.leftOf(stream.Context()); known && !ofTransport(info.FullMethod) {
			either, release := sooner(ends.draining, left)
			defer release()
			ends.draining = either
		}
		return handler(srv, endingStream{stream, ends.in(stream.Context())})
	}
}

// withEndingsOfCalls does the same for unary calls that may last as long as a
// stream.
func (chain) withEndingsOfCalls(now func() endings) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(now().in(ctx), request)
	}
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context // a stream is asked for its context
}

// Context is the stream's context, with the channels.
func (s endingStream) Context() context.Context { return s.ctx }

// RecvMsg receives a message; one that cannot be decoded is a typed error.
func (s endingStream) RecvMsg(m any) error { return receive(s.ServerStream, m) }
