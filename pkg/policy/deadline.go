package policy

import (
	"context"

	"google.golang.org/grpc"
)

// UnaryServerInterceptor gives every call its method's timeout as deadline,
// unless the client's is sooner, and puts the policy into the context.
func (s *Set) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m, ok := s.methods[info.FullMethod]
		if !ok {
			return handler(ctx, req)
		}
		// WithTimeout keeps the parent's deadline if that is sooner.
		ctx, cancel := context.WithTimeout(context.WithValue(ctx, contextKey{}, m), m.Timeout)
		defer cancel()
		return handler(ctx, req)
	}
}

// StreamServerInterceptor puts the policy into the context of streams. They
// have no deadline of ours.
func (s *Set) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		m, ok := s.methods[info.FullMethod]
		if !ok {
			return handler(srv, stream)
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
