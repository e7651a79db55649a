package idempotency

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

const (
	// KeyMetadata is the request metadata that carries the key.
	KeyMetadata = "idempotency-key"
	// ReplayedTrailer is "true" in the trailers of an answer whose effect is from
	// an earlier arrival. It travels in trailers because headers would commit the
	// call and turn off gRPC's own retries.
	ReplayedTrailer = "idempotent-replayed"
)

// secondLook is how long looking a key up may take after the request itself has
// failed or run out of time.
const secondLook = time.Second

// UnaryServerInterceptor serves methods whose policy requires a key. It belongs
// inside authentication, which says whose key it is, and outside validation: a
// stored answer wins over every error that depends on state, or a rule that a
// deploy has tightened would answer a retry with an error instead of with what
// happened. So before any error goes out, the key is looked up.
//
// Handlers take their [Call] from the context and answer what the store says;
// what is sent are the stored bytes. Servers need [Codec].
func UnaryServerInterceptor(s *Store, policies *policy.Set) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		p, ok := policies.Lookup(info.FullMethod)
		if !ok || !p.NeedsKey() {
			return handler(ctx, request)
		}
		call, err := arrived(ctx, p, request)
		if err != nil {
			return nil, err
		}
		response, err := handler(NewContext(ctx, call), request)
		if err != nil && !call.settled {
			if err := s.insteadOf(ctx, call, err); err != nil {
				return nil, err
			}
		}
		if !call.settled {
			return nil, apierror.New(apierror.ReasonInternal, "internal error",
				apierror.WithCause(errors.New("a method that requires a key answered without the store: "+info.FullMethod)))
		}
		message, ok := response.(proto.Message)
		if err != nil || !ok {
			message = answerOf(info.FullMethod, call.outcome)
		}
		if call.outcome.Replayed {
			// It fails only outside a gRPC call.
			_ = grpc.SetTrailer(ctx, metadata.Pairs(ReplayedTrailer, "true"))
		}
		return &storedAnswer{Message: message, raw: call.outcome.Raw}, nil
	}
}

// arrived makes the call of a request.
func arrived(ctx context.Context, p policy.Method, request any) (*Call, error) {
	message, ok := request.(proto.Message)
	tenant := auth.Tenant(ctx)
	if !ok || tenant == "" {
		return nil, apierror.New(apierror.ReasonInternal, "internal error",
			apierror.WithCause(errors.New("a keyed request needs a message and a tenant: check the order of interceptors")))
	}
	values := metadata.ValueFromIncomingContext(ctx, KeyMetadata)
	if len(values) > 1 {
		return nil, apierror.New(apierror.ReasonKeyMalformed, "more than one idempotency key")
	}
	key, err := ParseKey(strings.Join(values, ""))
	switch {
	case errors.Is(err, ErrKeyMissing):
		return nil, apierror.New(apierror.ReasonKeyMissing, "this method needs an Idempotency-Key")
	case err != nil:
		return nil, apierror.New(apierror.ReasonKeyMalformed, err.Error())
	}
	call := NewCall(tenant, key, p.FullName, message)
	call.Timeout = p.Timeout
	return call, nil
}

// insteadOf looks for a stored answer in place of an error, and settles the
// call if there is one. Otherwise it returns the error to send.
func (s *Store) insteadOf(ctx context.Context, call *Call, cause error) error {
	if looked(cause) || errors.Is(ctx.Err(), context.Canceled) {
		return cause
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), secondLook)
	defer cancel()
	outcome, found, err := s.find(look, call)
	switch {
	case err != nil && mayRepeat(cause) && mayRepeat(err) && !own(cause, err):
		return cause // it says the same, and more
	case err != nil:
		s.log.WarnContext(ctx, "an error was replaced by what its idempotency key says", "method", call.Method, "cause", cause, "instead", err)
		return err
	case !found:
		return cause
	}
	count(ctx, call.Method, outcomeReplayed)
	call.settle(outcome)
	return nil
}

// looked reports whether an error came from looking at the key.
func looked(err error) bool {
	reason, _ := apierror.ReasonOf(err)
	switch reason {
	case apierror.ReasonKeyInFlight, apierror.ReasonKeyReused, apierror.ReasonKeyExpired, apierror.ReasonKeyFromFuture:
		return true
	}
	return false
}

// own reports whether the operation that was found open is the one of this key,
// begun by a duplicate an instant ago: then the key is in flight, and says so.
func own(cause, looked error) bool {
	open, _ := apierror.ReasonOf(cause)
	key, _ := apierror.ReasonOf(looked)
	return open == apierror.ReasonOperationOpen && key == apierror.ReasonKeyInFlight
}

// mayRepeat reports whether an error asks to repeat with the same key.
func mayRepeat(err error) bool {
	return apierror.From(err).Retry() == apierror.RetrySameKey
}

// answerOf decodes an outcome into the method's response, for interceptors
// further out; what is sent are the raw bytes. It returns nil for a method that
// is not linked in, which a server cannot serve.
func answerOf(fullMethod string, o Outcome) proto.Message {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil
	}
	md, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
	if err != nil {
		return nil
	}
	m := mt.New().Interface()
	if err := o.Into(m); err != nil {
		return nil
	}
	return m
}
