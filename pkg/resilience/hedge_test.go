package resilience

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func hedging(c *Config) { c.HedgeAfter = 5 * time.Millisecond }

// TestASlowReadIsHedged: the first attempt hangs, the second answers, and its
// answer is the one in the caller's message. Run it under the race detector.
func TestASlowReadIsHedged(t *testing.T) {
	cancelled := make(chan struct{})
	p := &peer{answer: func(ctx context.Context, n int64) error {
		if n == 1 {
			<-ctx.Done()
			close(cancelled)
			return ctx.Err()
		}
		return nil
	}}
	client, d := p.client(t, quick(hedging))
	answer, err := client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Id: "it"})
	require.NoError(t, err)
	require.Zero(t, d.inflight.n.Load(), "the attempt that lost has ended, and can write into no message any more")
	require.Equal(t, "it", answer.GetPayment().GetId())
	require.EqualValues(t, 2, p.seen.Load())
	<-cancelled
	require.Zero(t, d.breaker.circuit.Metrics().Failures(), "who lost was cancelled by us")
	rested(t, d)
}

func TestAQuickReadIsNotHedged(t *testing.T) {
	p := &peer{}
	client, _ := p.client(t, quick(func(c *Config) { c.HedgeAfter = time.Minute }))
	require.NoError(t, get(t.Context(), client))
	require.EqualValues(t, 1, p.seen.Load())
}

// TestAWriteIsNotHedged, key or not: the second would find the first under way.
func TestAWriteIsNotHedged(t *testing.T) {
	// Several times what a read is hedged after: a hedge would be on its way.
	p := &peer{answer: func(context.Context, int64) error { time.Sleep(30 * time.Millisecond); return nil }}
	client, _ := p.client(t, quick(hedging))
	require.NoError(t, charge(withKey(t.Context()), client))
	require.EqualValues(t, 1, p.seen.Load())
}

// TestHedgesAreBoundedByTheBudget: a dependency that is slow for everybody must
// not get twice the load.
func TestHedgesAreBoundedByTheBudget(t *testing.T) {
	const calls = 50
	// Every answer takes longer than a read is hedged after.
	p := &peer{answer: func(context.Context, int64) error { time.Sleep(20 * time.Millisecond); return nil }}
	client, d := p.client(t, quick(hedging))
	for range calls {
		require.NoError(t, get(t.Context(), client))
	}
	require.LessOrEqual(t, float64(p.seen.Load()), 1.1*calls+reserve/repeatCost)
	rested(t, d)
}

// TestAFailedHedgeDoesNotBeatTheAttempt: only what settles the call wins.
func TestAFailedHedgeDoesNotBeatTheAttempt(t *testing.T) {
	second := make(chan struct{})
	p := &peer{answer: func(_ context.Context, n int64) error {
		if n == 1 {
			<-second
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		defer close(second)
		return status.Error(codes.Unavailable, "away")
	}}
	client, d := p.client(t, quick(hedging, func(c *Config) { c.MaxAttempts = 1 }))
	require.NoError(t, get(t.Context(), client))
	rested(t, d)
}

// TestAPanicInAHedgedAttemptReachesItsCaller: a goroutine's own would end the
// process.
func TestAPanicInAHedgedAttemptReachesItsCaller(t *testing.T) {
	d := newPayments(t, quick(hedging))
	conn, err := grpc.NewClient("passthrough:///nobody", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(d.UnaryClientInterceptor(),
			func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
				panic("boom")
			}))
	require.NoError(t, err)
	defer conn.Close()
	require.PanicsWithValue(t, "boom", func() { _ = get(t.Context(), paymentsv1.NewPaymentsServiceClient(conn)) })
	rested(t, d)
}
