package resilience

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// TestACallersCancelReachesTheLastHop of three, through two clients of ours:
// nobody works on for a caller who has left. It opens no breaker, is not tried
// again, and leaves nothing in flight anywhere.
func TestACallersCancelReachesTheLastHop(t *testing.T) {
	began, ended := make(chan struct{}), make(chan time.Time, 1)
	p := &peer{answer: func(ctx context.Context, _ int64) error {
		close(began)
		<-ctx.Done()
		ended <- time.Now()
		return ctx.Err()
	}}
	below, lower := p.client(t, touchy(func(c *Config) { c.MaxAttempts, c.BreakerMinCalls = 3, 1 }))
	address := serve(t, func(r grpc.ServiceRegistrar) { paymentsv1.RegisterPaymentsServiceServer(r, &middle{below: below}) },
		grpc.ChainUnaryInterceptor(UnaryServerInterceptor()))
	upper := newPayments(t, touchy(func(c *Config) { c.MaxAttempts, c.BreakerMinCalls = 3, 1 }))
	client := dial(t, upper, address)

	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- get(ctx, client) }()
	<-began
	left := time.Now()
	cancel()
	require.Equal(t, codes.Canceled, status.Code(<-result))
	select {
	case at := <-ended:
		t.Logf("it took %s", at.Sub(left)) // a millisecond; 50 are the aim
	case <-time.After(10 * time.Second):
		require.Fail(t, "the last hop works on")
	}
	for _, d := range []*Dependency{upper, lower} {
		rested(t, d)
		require.Equal(t, "closed", d.breaker.state())
		require.Zero(t, d.breaker.circuit.Metrics().Executions())
	}
	require.EqualValues(t, 1, p.seen.Load())
}
