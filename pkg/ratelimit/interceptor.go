package ratelimit

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Source tells the address of the client that a call is from; the zero address
// for a call that began inside the process.
type Source func(context.Context) netip.Addr

// Gate is the limits of calls whose clients a [Source] knows, as interceptors.
// Health and reflection, which ask for no credential, are never limited.
type Gate struct {
	limits   *Limits
	source   Source
	policies *policy.Set
}

// Gate returns the interceptors for calls from the source.
func (l *Limits) Gate(source Source, policies *policy.Set) Gate { return Gate{l, source, policies} }

// Address refuses calls of an address that sends too many.
func (g Gate) Address(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := g.admitAddress(ctx, info.FullMethod, trailersOf(ctx)); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

// AddressStream does the same for streams, which count when they open.
func (g Gate) AddressStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := g.admitAddress(stream.Context(), info.FullMethod, stream.SetTrailer); err != nil {
		return err
	}
	return handler(srv, stream)
}

func (g Gate) admitAddress(ctx context.Context, fullMethod string, tell func(metadata.MD)) error {
	if auth.Unprotected(fullMethod) {
		return nil
	}
	return refusal(g.limits.Address(g.source(ctx)), tell)
}

// Credentials is an interceptor that asks for credentials, unless the call's
// address has failed to show good ones too often.
func (g Gate) Credentials(authenticate grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		client := g.source(ctx)
		if err := g.admitCredentials(client, info.FullMethod, trailersOf(ctx)); err != nil {
			return nil, err
		}
		// What the handler answers does not count: it may have called others,
		// with credentials of its own.
		asked := false
		answer, err := authenticate(ctx, request, info, func(ctx context.Context, request any) (any, error) {
			asked = true
			return handler(ctx, request)
		})
		if !asked {
			g.judge(client, err)
		}
		return answer, err
	}
}

// CredentialsStream does the same for streams.
func (g Gate) CredentialsStream(authenticate grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		client := g.source(stream.Context())
		if err := g.admitCredentials(client, info.FullMethod, stream.SetTrailer); err != nil {
			return err
		}
		asked := false
		err := authenticate(srv, stream, info, func(srv any, stream grpc.ServerStream) error {
			asked = true
			return handler(srv, stream)
		})
		if !asked {
			g.judge(client, err)
		}
		return err
	}
}

func (g Gate) admitCredentials(client netip.Addr, fullMethod string, tell func(metadata.MD)) error {
	if auth.Unprotected(fullMethod) {
		return nil
	}
	return refusal(g.limits.MayAuthenticate(client), tell)
}

// judge counts credentials that were missing or wrong.
func (g Gate) judge(client netip.Addr, err error) {
	if Unauthenticated(err) {
		g.limits.AuthenticationFailed(client)
	}
}

// Unauthenticated reports whether an error says that credentials are missing or
// wrong.
func Unauthenticated(err error) bool {
	reason, ok := apierror.ReasonOf(err)
	return ok && (reason == apierror.ReasonCredentialsMissing || reason == apierror.ReasonCredentialsInvalid)
}

// Tenant refuses calls of a tenant that makes too many, and tells every other
// one what is left. It belongs inside authentication.
func (g Gate) Tenant(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := g.admitTenant(ctx, info.FullMethod, trailersOf(ctx)); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

// TenantStream does the same for streams, which count when they open.
func (g Gate) TenantStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := g.admitTenant(stream.Context(), info.FullMethod, stream.SetTrailer); err != nil {
		return err
	}
	return handler(srv, stream)
}

func (g Gate) admitTenant(ctx context.Context, fullMethod string, tell func(metadata.MD)) error {
	principal, known := auth.FromContext(ctx)
	method, ours := g.policies.Lookup(fullMethod)
	if !known || !ours {
		return nil
	}
	d := g.limits.Tenant(principal, method)
	if fields := d.Metadata(); fields != nil {
		tell(fields)
	}
	return d.Err()
}

// refusal tells of a decision only if it is one.
func refusal(d Decision, tell func(metadata.MD)) error {
	if d.Allowed {
		return nil
	}
	tell(d.Metadata())
	return d.Err()
}

// trailersOf sets trailers of a unary call.
func trailersOf(ctx context.Context) func(metadata.MD) {
	return func(fields metadata.MD) { _ = grpc.SetTrailer(ctx, fields) } // it fails only outside a call
}
