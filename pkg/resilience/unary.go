package resilience

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// UnaryClientInterceptor calls the dependency's methods by their policies. A
// method that has none gets breaker and bulkhead, and is never repeated.
func (d *Dependency) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, name string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		c := d.begin(ctx, d.method(name))
		var hedged proto.Message // what a hedge was answered with
		_, decodable := reply.(proto.Message)
		c.single = !decodable
		caller := ctx
		c.try = func(ctx context.Context, attempt int, hedge bool) outcome {
			into := reply
			if hedge {
				// Never the same message: two attempts may be decoding at once.
				into = fresh(reply)
			}
			var trailer metadata.MD
			began := time.Now()
			err := invoker(c.chain.outgoing(ctx, attempt), name, request, into, conn, append(opts[:len(opts):len(opts)], grpc.Trailer(&trailer))...)
			if err != nil {
				return c.judge(caller, ctx, began, err, trailer)
			}
			if hedge {
				hedged, _ = into.(proto.Message)
			}
			return outcome{health: Healthy}
		}
		err := c.run(ctx)
		if err == nil && hedged != nil {
			// Both attempts have ended: nobody else has the caller's message.
			proto.Reset(reply.(proto.Message))
			proto.Merge(reply.(proto.Message), hedged)
			d.meter.retry(ctx, hedgeWon)
		}
		if err != nil {
			return fallBack(ctx, opts, reply, err)
		}
		return nil
	}
}

// fresh is an empty message of the same kind.
func fresh(reply any) any {
	if m, ok := reply.(proto.Message); ok {
		return m.ProtoReflect().New().Interface()
	}
	return reply
}
