//go:build faults

package faults

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Injector injects faults into one process. It injects none until it is told to
// on the admin port.
type Injector struct {
	allowed  bool // in development
	log      *slog.Logger
	injected metric.Int64Counter
	conns    sync.Map // the open connections, by what [connKey] makes of their addresses
	methods  atomic.Pointer[methods]
	active   atomic.Pointer[plan] // nil: off
}

// methods are the methods that can have faults, and whether each is a stream.
type methods map[string]bool

// New returns an injector that is off. What is on is shown on /statusz, and
// what was injected is counted:
//
//	holdfast_faults_injected_total{method,fault}
func New(environment config.Environment, log *slog.Logger, h *health.Health) *Injector {
	i := &Injector{allowed: environment == config.Development, log: log}
	if !i.allowed {
		return i
	}
	// It cannot fail with this name.
	i.injected, _ = otel.Meter("github.com/holdfast-dev/holdfast/pkg/faults").Int64Counter("holdfast_faults_injected",
		metric.WithDescription("Faults injected on request, by method and kind."))
	h.Show("faults", func() any { return i.active.Load().report() })
	return i
}

// ofTransport begins the name of every method that belongs to gRPC itself. A
// fault there would not look like a service that misbehaves: it would take the
// replica out of traffic, or have it restarted.
const ofTransport = "/grpc."

// Serves says which methods the service has. Others never have faults, so that
// clients cannot make a time series of every name they can think of.
func (i *Injector) Serves(served []policy.Method) {
	m := methods{}
	for _, method := range served {
		if !strings.HasPrefix(method.FullName, ofTransport) {
			m[method.FullName] = method.Streaming
		}
	}
	i.methods.Store(&m)
}

// UnaryServerInterceptors returns what injects faults into unary calls.
func (i *Injector) UnaryServerInterceptors() []grpc.UnaryServerInterceptor {
	if !i.allowed {
		return nil
	}
	return []grpc.UnaryServerInterceptor{i.unary}
}

// StreamServerInterceptors returns what injects faults into streams.
func (i *Injector) StreamServerInterceptors() []grpc.StreamServerInterceptor {
	if !i.allowed {
		return nil
	}
	return []grpc.StreamServerInterceptor{i.stream}
}

// Gateway returns how the HTTP gateway must be made for its requests to have
// every fault.
func (i *Injector) Gateway() []runtime.ServeMuxOption {
	if !i.allowed {
		return nil
	}
	return []runtime.ServeMuxOption{runtime.WithMetadata(tellConnection)}
}

func (i *Injector) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	drawn := i.active.Load().draw(info.FullMethod)
	if err := i.inject(ctx, info.FullMethod, drawn, before); err != nil {
		return nil, err
	}
	answer, err := handler(ctx, request)
	// What the handler did is done; its answer is lost, whatever it was.
	if err := i.inject(ctx, info.FullMethod, drawn, after); err != nil {
		return nil, err
	}
	return answer, err
}

// inject injects those faults that belong before, or after, the handler. An
// error is to be answered, and is the last of them.
func (i *Injector) inject(ctx context.Context, method string, drawn []fault, when string) error {
	for _, f := range drawn {
		if f.rule.When != when {
			continue
		}
		i.count(ctx, method, f.rule)
		switch f.rule.Fault {
		case faultLatency:
			if err := wait(ctx, f.delay); err != nil {
				return err
			}
		case faultError:
			return f.rule.err()
		case faultReset:
			i.reset(ctx)
			return errReset
		}
	}
	return nil
}

func (i *Injector) count(ctx context.Context, method string, r *rule) {
	r.applied.Add(1)
	i.injected.Add(ctx, 1, metric.WithAttributes(attribute.String("method", method), attribute.String("fault", r.Fault)))
}

// errReset is for whoever is still there to see it: the connection is not.
var errReset = apierror.New(apierror.ReasonDependencyUnavailable, "an injected fault reset the connection")

// wait waits, or returns why ctx ended before that.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
