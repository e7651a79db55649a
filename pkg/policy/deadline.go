package policy

import (
	"context"

	"google.golang.org/grpc"
)

// UnaryServerInterceptor gives every call its method's timeout as deadline,
// unless the client's is sooner, puts the policy into the context, and has the
// answer say if the method will go.
func (s *Set) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m, ok := s.methods[info.FullMethod]
		if !ok {
			return handler(ctx, req)
		}
		if m.Deprecation != nil {
			_ = grpc.SetTrailer(ctx, m.Deprecation.trailer) // it fails only outside a call
		}
		// WithTimeout keeps the parent's deadline if that is sooner.
		ctx, cancel := context.WithTimeout(context.WithValue(ctx, contextKey{}, m), m.Timeout)
		defer cancel()
		return handler(ctx, req)
	}
}

// StreamServerInterceptor does the same for streams, but for the deadline: they
// have none of ours.
func (s *Set) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		m, ok := s.methods[info.FullMethod]
		if !ok {
			return handler(srv, stream)
		}
		if m.Deprecation != nil {
			stream.SetTrailer(m.Deprecation.trailer)
		}
		return handler(srv, &policyStream{stream, context.WithValue(stream.Context(), contextKey{}, m)})
	}
}

type policyStream struct {
	grpc.ServerStream
	ctx context.Context // grpc.ServerStream hands its context out by method
}

// Context is the stream's context, with the policy.
func (s *policyStream) Context() context.Context { return s.ctx }
