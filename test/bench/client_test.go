package bench

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// BenchmarkClient measures what a unary call costs its client beyond the call.
// It is made
//
//	timeout        with the method's timeout and nothing else: what the others add
//	               to
//	gobreaker      and through sony/gobreaker: a circuit breaker, and nothing else
//	failsafe       through failsafe-go's own gRPC interceptor, with retries, a
//	               circuit breaker, a bulkhead and a timeout, of which it does not
//	               tell the server
//	failsafe-told  the same with a deadline around it, which the server is told, as
//	               it is by all others
//	ours           through pkg/resilience, which has all these, reads the method's
//	               policy, keeps a retry budget, tells attempts, and measures
//
// to nobody, where the transport is a function that returns, so that nothing but
// the policies is measured; and over loopback, where ours also pays for what it
// reads from the answer.
func BenchmarkClient(b *testing.B) {
	conn := dial(b, serveBare(b))
	for _, to := range []struct {
		name    string
		turn    int
		invoker grpc.UnaryInvoker
	}{
		{"nobody", 500, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }},
		{"loopback", 250, invoke},
	} {
		b.Run(to.name, func(b *testing.B) {
			request, reply := &paymentsv1.GetPaymentRequest{Id: paymentID}, &paymentsv1.GetPaymentResponse{}
			through := func(name string, intercept grpc.UnaryClientInterceptor) *subject {
				return &subject{name: name, call: func(ctx context.Context) error {
					return intercept(ctx, paymentsv1.PaymentsService_GetPayment_FullMethodName, request, reply, conn, to.invoker)
				}}
			}
			compare(b, to.turn,
				through("timeout", withTimeout),
				through("gobreaker", withGobreaker()),
				through("failsafe", withFailsafe()),
				through("failsafe-told", telling(withFailsafe())),
				through(ours, newPayments(b).UnaryClientInterceptor()))
		})
	}
}

// getTimeout is what the proto says of GetPayment.
const getTimeout = 2 * time.Second

func withTimeout(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	return invoker(ctx, method, request, reply, conn, opts...)
}

// withGobreaker is the interceptor that gobreaker leaves to its users, with a
// breaker that opens as ours does.
func withGobreaker() grpc.UnaryClientInterceptor {
	cfg := resilience.Defaults()
	breaker := gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Name: "payments", MaxRequests: uint32(cfg.BreakerProbes), Interval: cfg.BreakerWindow, Timeout: cfg.BreakerOpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= uint32(cfg.BreakerMinCalls) && float64(c.TotalFailures) >= cfg.BreakerRate*float64(c.Requests)
		},
	})
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		_, err := breaker.Execute(func() (any, error) {
			return nil, withTimeout(ctx, method, request, reply, conn, invoker, opts...)
		})
		return err
	}
}

// withFailsafe has the same policies with the same settings as ours.
func withFailsafe() grpc.UnaryClientInterceptor {
	cfg := resilience.Defaults()
	return failsafegrpc.NewUnaryClientInterceptor[any](
		failsafegrpc.NewRetryPolicyBuilder[any]().WithMaxAttempts(cfg.MaxAttempts).WithBackoff(cfg.Backoff, cfg.MaxBackoff).Build(),
		circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(cfg.BreakerRate, cfg.BreakerMinCalls, cfg.BreakerWindow).Build(),
		bulkhead.New[any](uint(cfg.MaxConcurrent)),
		timeout.New[any](getTimeout),
	)
}

// telling gives what is inside a deadline, which gRPC tells the server.
func telling(inside grpc.UnaryClientInterceptor) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(ctx, getTimeout)
		defer cancel()
		return inside(ctx, method, request, reply, conn, invoker, opts...)
	}
}

// newPayments is the dependency that orders have, in a process that measures.
func newPayments(tb testing.TB) *resilience.Dependency {
	tb.Helper()
	newTelemetry(tb)
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().ByName("PaymentsService"))
	require.NoError(tb, err)
	registry := resilience.NewRegistry(slog.New(slog.DiscardHandler))
	tb.Cleanup(func() { require.NoError(tb, registry.Close()) })
	payments, err := registry.Add("payments", resilience.Defaults(), policies)
	require.NoError(tb, err)
	return payments
}

// dial connects as service.Dial does where it matters here: gRPC retries nothing.
func dial(tb testing.TB, address string, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))...)
	require.NoError(tb, err)
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// invoke is the call itself.
func invoke(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
	return conn.Invoke(ctx, method, request, reply, opts...)
}
