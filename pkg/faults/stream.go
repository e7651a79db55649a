//go:build faults

package faults

import (
	"context"

	"google.golang.org/grpc"
)

func (i *Injector) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	drawn := i.active.Load().draw(info.FullMethod)
	if err := i.inject(stream.Context(), info.FullMethod, drawn, before); err != nil {
		return err
	}
	err := i.handle(srv, stream, info.FullMethod, shortest(drawn), handler)
	if err := i.inject(stream.Context(), info.FullMethod, drawn, after); err != nil {
		return err
	}
	return err
}

// handle calls the handler, and cuts its stream off if the rule is not nil.
func (i *Injector) handle(srv any, stream grpc.ServerStream, method string, r *rule, handler grpc.StreamHandler) error {
	if r == nil {
		return handler(srv, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	c := &cutStream{ServerStream: stream, ctx: ctx, cancel: cancel, left: r.Messages}
	err := handler(srv, c)
	if c.left > 0 {
		return err // it ended before
	}
	i.count(ctx, method, r)
	if r.With == faultReset {
		i.reset(ctx)
		return errReset
	}
	return r.err()
}

// shortest is the rule, of those drawn, that cuts a stream first; nil if none
// does.
func shortest(drawn []fault) (first *rule) {
	for _, f := range drawn {
		if f.rule.Fault == faultCut && (first == nil || f.rule.Messages < first.Messages) {
			first = f.rule
		}
	}
	return first
}

// cutStream lets the handler send so many messages and then looks to it like a
// stream whose client is gone: sending fails and its context ends. A handler
// returns then, as it would have to from such a stream.
type cutStream struct {
	grpc.ServerStream
	ctx    context.Context // a stream is asked for its context
	cancel context.CancelFunc
	left   int // messages until the cut; SendMsg is never called concurrently
}

// Context is the stream's context, which the cut ends.
func (s *cutStream) Context() context.Context { return s.ctx }

// SendMsg sends a message if there is one left.
func (s *cutStream) SendMsg(m any) error {
	if s.left == 0 {
		return context.Canceled
	}
	if err := s.ServerStream.SendMsg(m); err != nil {
		return err
	}
	if s.left--; s.left == 0 {
		s.cancel()
	}
	return nil
}
