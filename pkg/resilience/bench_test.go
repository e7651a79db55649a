package resilience

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// BenchmarkClient measures what a call costs its client beyond the call: the same
// unary RPC to nobody (the transport is a function that returns), without any
// policy, through failsafe-go's own interceptor with retry, breaker, bulkhead and
// timeout, and through ours, which does more. Calls alternate in blocks, so that
// whatever else the machine does hits all three. Figures are for one call, added
// to none:
//
//	stock-ns, ours-ns           CPU time of the process
//	stock-allocs, ours-allocs   allocations
//	ours/stock                  the ratio of the CPU times added
func BenchmarkClient(b *testing.B) {
	ours := newPayments(b, Defaults()).UnaryClientInterceptor()
	stock := failsafegrpc.NewUnaryClientInterceptor[any](
		failsafegrpc.NewRetryPolicyBuilder[any]().WithBackoff(50*time.Millisecond, time.Second).Build(),
		circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build(),
		bulkhead.New[any](128),
		timeout.New[any](2*time.Second),
	)
	none := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		// As service.Dial did before there were policies: the method's timeout.
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return invoker(ctx, method, request, reply, conn, opts...)
	}
	var bare, theirs, own spent
	for _, s := range []*spent{&bare, &theirs, &own} {
		s.measure(b, none, 1000) // caches
		*s = spent{}
	}
	const block = 500
	b.ResetTimer()
	for n := 0; n < b.N; n += block {
		bare.measure(b, none, block)
		theirs.measure(b, stock, block)
		own.measure(b, ours, block)
	}
	b.StopTimer()
	b.ReportMetric(theirs.nanos()-bare.nanos(), "stock-ns/call")
	b.ReportMetric(own.nanos()-bare.nanos(), "ours-ns/call")
	b.ReportMetric((own.nanos()-bare.nanos())/(theirs.nanos()-bare.nanos()), "ours/stock")
	b.ReportMetric(theirs.allocations()-bare.allocations(), "stock-allocs/call")
	b.ReportMetric(own.allocations()-bare.allocations(), "ours-allocs/call")
}

// spent is what calls have cost so far.
type spent struct {
	calls  int
	cpu    time.Duration
	allocs uint64
}

func (s *spent) nanos() float64       { return float64(s.cpu) / float64(s.calls) }
func (s *spent) allocations() float64 { return float64(s.allocs) / float64(s.calls) }

func (s *spent) measure(b *testing.B, intercept grpc.UnaryClientInterceptor, calls int) {
	request, reply := &paymentsv1.GetPaymentRequest{}, &paymentsv1.GetPaymentResponse{}
	answered := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	ctx := b.Context()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := cpuTime(b)
	for range calls {
		if err := intercept(ctx, paymentsv1.PaymentsService_GetPayment_FullMethodName, request, reply, nil, answered); err != nil {
			b.Fatal(err)
		}
	}
	s.cpu += cpuTime(b) - began
	runtime.ReadMemStats(&after)
	s.allocs += after.Mallocs - before.Mallocs
	s.calls += calls
}

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
