package auth

import (
	"context"
	"regexp"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// MetadataActAs names the tenant that a service acts for.
const MetadataActAs = "holdfast-act-as-tenant"

var tenantPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

var (
	errMissing   = apierror.New(apierror.ReasonCredentialsMissing, "send an API key: Authorization: Bearer <key>")
	errNoPolicy  = apierror.New(apierror.ReasonPermissionDenied, "the method is open to nobody")
	errScope     = apierror.New(apierror.ReasonPermissionDenied, "the API key does not allow this method")
	errActAs     = apierror.New(apierror.ReasonPermissionDenied, "only services act for tenants")
	errNoTenant  = apierror.New(apierror.ReasonPermissionDenied, "a service must name the tenant that it acts for")
	errBadTenant = apierror.New(apierror.ReasonPermissionDenied, "the tenant to act for is not a tenant's name")
)

// unprotected has what every server answers without credentials: it tells
// nothing and does nothing. Reflection is registered in development only.
var unprotected = []string{"/grpc.health.v1.Health/", "/grpc.reflection."}

// Unprotected reports whether a method is one that every server answers without
// credentials: of health or reflection.
func Unprotected(fullMethod string) bool {
	for _, prefix := range unprotected {
		if strings.HasPrefix(fullMethod, prefix) {
			return true
		}
	}
	return false
}

// UnaryServerInterceptor lets calls in that carry a credential with the
// method's scope, and puts the [Principal] into their context. A method without
// a policy lets nobody in.
func UnaryServerInterceptor(v Verifier, policies *policy.Set) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := admit(ctx, v, policies, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor does the same for streams.
func StreamServerInterceptor(v Verifier, policies *policy.Set) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := admit(stream.Context(), v, policies, info.FullMethod)
		if err != nil {
			return err
		}
		return handler(srv, &admitted{stream, ctx})
	}
}

type admitted struct {
	grpc.ServerStream
	ctx context.Context // grpc.ServerStream hands its context out by method
}

// Context is the stream's context, with the principal.
func (s *admitted) Context() context.Context { return s.ctx }

func admit(ctx context.Context, v Verifier, policies *policy.Set, fullMethod string) (context.Context, error) {
	method, known := policies.Lookup(fullMethod)
	if !known {
		if Unprotected(fullMethod) {
			return ctx, nil
		}
		return nil, errNoPolicy
	}
	token, ok := bearer(ctx)
	if !ok {
		return nil, errMissing
	}
	principal, err := v.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	if !principal.Has(method.Scope) {
		return nil, errScope
	}
	principal, err = actFor(ctx, principal)
	if err != nil {
		return nil, err
	}
	return NewContext(ctx, principal), nil
}

// bearer returns the token of a call. More than one is none: which of them
// would a proxy in front have checked?
func bearer(ctx context.Context) (string, bool) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// actFor returns the principal with the tenant that it acts for. Services have
// no tenant of their own.
func actFor(ctx context.Context, p Principal) (Principal, error) {
	named := metadata.ValueFromIncomingContext(ctx, MetadataActAs)
	mayActAs := p.Service && p.Has(ScopeActAs)
	switch {
	case len(named) == 0 && p.Tenant != "":
		return p, nil
	case len(named) == 0:
		return p, errNoTenant
	case !mayActAs:
		return p, errActAs
	case len(named) > 1 || !tenantPattern.MatchString(named[0]):
		return p, errBadTenant
	default:
		p.Tenant = named[0]
		return p, nil
	}
}
