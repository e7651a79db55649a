package idempotency

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// Call is one arrival of a request that carries a key. The interceptor makes
// it; the store records on it what must be sent.
type Call struct {
	// Tenant scopes the key. It is the tenant and not the credential, so that
	// rotating an API key in the middle of a retry repeats nothing.
	Tenant string
	// Key is what the client sent.
	Key Key
	// Method is the full gRPC method, such as
	// "/holdfast.orders.v1.OrdersService/CreateOrder".
	Method string
	// Fingerprint is of the request as it arrived, before anything normalised
	// it.
	Fingerprint Fingerprint
	// Started is when the request arrived, by this process's clock.
	Started time.Time
	// Timeout is how long the method may work, from its policy. Zero means
	// [Config.Bound].
	Timeout time.Duration

	earlier []Fingerprint // of the same request, in older versions
	outcome Outcome
	settled bool
}

// NewCall makes the call that a request stands for. Handlers do not need it:
// theirs is in the context.
func NewCall(tenant string, key Key, method string, request proto.Message) *Call {
	c := &Call{
		Tenant:      tenant,
		Key:         key,
		Method:      method,
		Fingerprint: FingerprintOf(method, request),
		Started:     time.Now(),
	}
	for _, v := range readVersions {
		f, _ := fingerprintIn(v, method, request)
		c.earlier = append(c.earlier, f)
	}
	return c
}

type callKey struct{}

// NewContext returns a context that carries the call.
func NewContext(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// FromContext returns the call that the interceptor put there.
func FromContext(ctx context.Context) (*Call, bool) {
	c, ok := ctx.Value(callKey{}).(*Call)
	return c, ok
}

// settle records what this call is answered with.
func (c *Call) settle(o Outcome) Outcome {
	c.outcome, c.settled = o, true
	return o
}

// Outcome is the definitive answer of a key.
type Outcome struct {
	// Replayed says that the effect is from an earlier arrival of the request.
	Replayed bool
	// Raw is the answer in wire form, exactly as stored. Do not change it.
	Raw []byte
}

// Into decodes the answer into m.
func (o Outcome) Into(m proto.Message) error {
	return proto.Unmarshal(o.Raw, m)
}

// matches compares the request with a stored fingerprint, in the version of
// that one. Known is false if this release cannot compute it.
func (c *Call) matches(f Fingerprint) (same, known bool) {
	if f.Version == c.Fingerprint.Version {
		return f == c.Fingerprint, true
	}
	for _, e := range c.earlier {
		if e.Version == f.Version {
			return f == e, true
		}
	}
	return false, false
}
