package resilience

import (
	"context"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// AttemptMetadata tells a server which attempt a request is, from the second
	// on, counted where the chain of calls was first retried. An overloaded
	// server sheds it first, and nobody below retries for it.
	AttemptMetadata = "holdfast-attempt"
	// AttemptsTrailer tells how many attempts the longest of the calls took that
	// were made for an answer. Over HTTP it is the header Holdfast-Attempts.
	AttemptsTrailer = "holdfast-attempts"
	// pushbackTrailer is gRFC A6's: milliseconds to wait, or "do not retry".
	pushbackTrailer = "grpc-retry-pushback-ms"
	doNotRetry      = "-1"
)

// Chain is what a request that is being served knows of the calls above and
// below it. A nil Chain is of no request.
type Chain struct {
	number   int          // of this attempt, as the caller counts
	attempts atomic.Int32 // the most that one call below took
	final    atomic.Bool  // a call below has failed for good
}

type chainKey struct{}

func chainOf(ctx context.Context) *Chain {
	c, _ := ctx.Value(chainKey{}).(*Chain)
	return c
}

// Attempt returns which attempt the request being served is; 1 if it is the
// first, or if ctx is of none.
func Attempt(ctx context.Context) int { return chainOf(ctx).attempt() }

func (c *Chain) attempt() int {
	if c == nil {
		return 1
	}
	return c.number
}

// note takes in how a call below ended.
func (c *Chain) note(attempts int, final bool) {
	if c == nil {
		return
	}
	for {
		old := c.attempts.Load()
		if int32(attempts) <= old || c.attempts.CompareAndSwap(old, int32(attempts)) {
			break
		}
	}
	if final {
		c.final.Store(true)
	}
}

// newChain reads what the caller said about the request.
func newChain(ctx context.Context) *Chain {
	c := &Chain{number: 1}
	if values := metadata.ValueFromIncomingContext(ctx, AttemptMetadata); len(values) > 0 {
		if n, err := strconv.Atoi(values[0]); err == nil && n > 1 {
			c.number = n
		}
	}
	return c
}

// trailer is what the answer tells about the calls made for it; nil: nothing.
func (c *Chain) trailer(err error) metadata.MD {
	attempts := c.attempts.Load()
	if attempts == 0 {
		return nil
	}
	md := metadata.MD{AttemptsTrailer: {strconv.Itoa(int(attempts))}}
	if err != nil && c.final.Load() {
		md[pushbackTrailer] = []string{doNotRetry}
	}
	return md
}

// UnaryServerInterceptor makes the calls of a handler part of the chain that its
// request is in: which attempt it is goes down, and how many attempts it took
// comes back up.
func UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		chain := newChain(ctx)
		answer, err := handler(context.WithValue(ctx, chainKey{}, chain), request)
		if md := chain.trailer(err); md != nil {
			_ = grpc.SetTrailer(ctx, md) // it fails only outside a call
		}
		return answer, err
	}
}

// StreamServerInterceptor is UnaryServerInterceptor for streams.
func StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		chain := newChain(stream.Context())
		err := handler(srv, &chainedStream{stream, context.WithValue(stream.Context(), chainKey{}, chain)})
		if md := chain.trailer(err); md != nil {
			stream.SetTrailer(md)
		}
		return err
	}
}

type chainedStream struct {
	grpc.ServerStream
	ctx context.Context // a stream is asked for its context
}

// Context is the stream's context, with the chain.
func (s *chainedStream) Context() context.Context { return s.ctx }

// outgoing is the context of an attempt: from the second in the chain on, it
// says which it is.
func (c *Chain) outgoing(ctx context.Context, attempt int) context.Context {
	if n := attempt + c.attempt() - 1; n > 1 {
		return metadata.AppendToOutgoingContext(ctx, AttemptMetadata, strconv.Itoa(n))
	}
	return ctx
}
