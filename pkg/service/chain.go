package service

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/faults"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
	"github.com/holdfast-dev/holdfast/pkg/validate"
)

// chain is what stands between the wire and every handler. From outside in:
//
//	version      a trailer says which version answered
//	chain        which attempt this is, and how many the calls below took
//	errors       a panic or any error becomes a typed status
//	address      how much one address may send; over HTTP the edge has asked
//	policy       the method's deadline
//	faults       what somebody asked to go wrong, in development: see pkg/faults
//	auth         whose request it is, and whether it may; not for an address
//	             that fails too often
//	tenant       how much one tenant may ask for
//	shedding     whether there is room for it: behind auth, so that nobody
//	             without a credential outranks who has one, and before
//	             everything that costs more than saying no
//	idempotency  a stored answer; outside validation, so that a retry of
//	             something that was done is answered with what was done
//	validation   normalised and checked fields
type chain struct {
	log       *slog.Logger
	policies  *policy.Set
	faults    *faults.Injector
	verifier  auth.Verifier
	limits    *ratelimit.Limits
	life      lifespan // of connections
	longCalls bool     // of the service: see [Definition.LongCalls]
	streams   *streamMeter
	shedder   *shed.Shedder      // nil: shedding is off
	store     *idempotency.Store // nil: no method of the service needs a key
	validated grpc.UnaryServerInterceptor
	checked   grpc.StreamServerInterceptor // the same for streams
}

// prepare makes what is made once for all servers.
func (c *chain) prepare(ctx context.Context) (err error) {
	if c.validated, err = validate.UnaryServerInterceptor(); err != nil {
		return fmt.Errorf("preparing validation: %w", err)
	}
	if c.checked, err = validate.StreamServerInterceptor(); err != nil {
		return fmt.Errorf("preparing validation: %w", err)
	}
	return warm(ctx, c.validated, c.policies)
}

// unary returns the interceptors, in order, of calls that come in by way.
func (c chain) unary(by way, ends func() endings) []grpc.UnaryServerInterceptor {
	gate := c.gate(by)
	interceptors := []grpc.UnaryServerInterceptor{tellVersion, resilience.UnaryServerInterceptor(), apierror.UnaryServerInterceptor(c.log)}
	if by == overNetwork {
		interceptors = append(interceptors, gate.Address)
	}
	if c.longCalls {
		interceptors = append(interceptors, c.withEndingsOfCalls(ends))
	}
	interceptors = append(interceptors,
		c.policies.UnaryServerInterceptor(),
	)
	interceptors = append(interceptors, c.faults.UnaryServerInterceptors()...)
	interceptors = append(interceptors,
		gate.Credentials(auth.UnaryServerInterceptor(c.verifier, c.policies)),
		gate.Tenant,
	)
	if c.shedder != nil {
		interceptors = append(interceptors, shed.UnaryServerInterceptor(c.shedder))
	}
	if c.store != nil {
		interceptors = append(interceptors, idempotency.UnaryServerInterceptor(c.store, c.policies))
	}
	return append(interceptors, c.validated)
}

// VersionTrailer names the trailer of every answer that says which version gave
// it; over HTTP it is the header Holdfast-Version. During a deploy it tells a
// client, and a drill, who answers.
const VersionTrailer = "holdfast-version"

var versionTrailer metadata.MD // made when the version is known

func tellVersion(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	_ = grpc.SetTrailer(ctx, versionTrailer) // it fails only outside a call
	return handler(ctx, request)
}

func tellVersionOfStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	stream.SetTrailer(versionTrailer)
	return handler(srv, stream)
}

// stream returns the interceptors of streams; ends gives the channels that are
// closed when they should end. A stream has no stored answer, and so no part in
// idempotency.
func (c chain) stream(by way, ends func() endings) []grpc.StreamServerInterceptor {
	gate := c.gate(by)
	interceptors := []grpc.StreamServerInterceptor{tellVersionOfStream, c.count, resilience.StreamServerInterceptor(), apierror.StreamServerInterceptor(c.log)}
	if by == overNetwork {
		interceptors = append(interceptors, gate.AddressStream)
	}
	interceptors = append(interceptors,
		c.knownMethod,
		c.withEndings(ends),
		c.policies.StreamServerInterceptor(),
	)
	interceptors = append(interceptors, c.faults.StreamServerInterceptors()...)
	interceptors = append(interceptors,
		gate.CredentialsStream(auth.StreamServerInterceptor(c.verifier, c.policies)),
		gate.TenantStream,
	)
	if c.shedder != nil {
		interceptors = append(interceptors, shed.StreamServerInterceptor(c.shedder))
	}
	return append(interceptors, c.checked)
}

// knownMethod answers calls of methods that do not exist, which reach here as
// streams, before anybody asks who is calling.
func (c chain) knownMethod(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !c.knows(info.FullMethod) && !ofTransport(info.FullMethod) {
		return errUnknownMethod
	}
	return handler(srv, stream)
}

var errUnknownMethod = apierror.New(apierror.ReasonUnknownMethod, "this server has no such method")

// unknown answers what no service is registered for.
func unknown(any, grpc.ServerStream) error { return errUnknownMethod }

// knows reports whether the method is one of the service's API.
func (c chain) knows(fullMethod string) bool {
	_, known := c.policies.Lookup(fullMethod)
	return known
}

// measured reports whether a method is measured as a call is; a stream is counted
// by its own meter.
func (c chain) measured(fullMethod string) bool {
	m, known := c.policies.Lookup(fullMethod)
	return known && !m.Streaming
}

// ofTransport reports whether a method belongs to gRPC itself: health and
// reflection, which have no policy and ask for no credential.
func ofTransport(fullMethod string) bool { return strings.HasPrefix(fullMethod, "/grpc.") }
