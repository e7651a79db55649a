package resilience

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// TestTheKeyIsTheOneThatServersRead keeps a constant that is written twice, so
// that a client does not link in a database.
func TestTheKeyIsTheOneThatServersRead(t *testing.T) {
	require.Equal(t, idempotency.KeyMetadata, keyMetadata)
}

// TestWhatIsTriedAgain is the table of what a client does with an error.
func TestWhatIsTriedAgain(t *testing.T) {
	wait := apierror.WithRetryAfter(time.Millisecond)
	for name, test := range map[string]struct {
		err   error
		again bool
	}{
		"unavailable":                    {apierror.New(apierror.ReasonDependencyUnavailable, "away"), true},
		"draining":                       {apierror.New(apierror.ReasonDraining, "leaving", wait), true},
		"shedding":                       {apierror.New(apierror.ReasonOverloaded, "busy", wait), true},
		"key in flight":                  {apierror.New(apierror.ReasonKeyInFlight, "wait", wait), true},
		"rate limited":                   {apierror.New(apierror.ReasonRateLimited, "wait", wait), true},
		"a budget is spent":              {apierror.New(apierror.ReasonBudgetSpent, "spent", wait), false},
		"a bug":                          {apierror.New(apierror.ReasonInternal, "bug"), false},
		"a bad request":                  {apierror.New(apierror.ReasonInvalidField, "no"), false},
		"not found":                      {apierror.New(apierror.ReasonNotFound, "no"), false},
		"too large":                      {apierror.New(apierror.ReasonMessageTooLarge, "no"), false},
		"a wrong state":                  {apierror.New(apierror.ReasonWrongState, "no"), false},
		"out of time, says the server":   {apierror.New(apierror.ReasonDeadline, "no"), false},
		"another's unavailable":          {status.Error(codes.Unavailable, "away"), true},
		"another's exhausted":            {status.Error(codes.ResourceExhausted, "no idea until when"), false},
		"another's exhausted, with time": {withRetryInfo(t, codes.ResourceExhausted, time.Millisecond), true},
		"another's aborted, with time":   {withRetryInfo(t, codes.Aborted, time.Millisecond), true},
		"another's data loss":            {status.Error(codes.DataLoss, "gone"), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{answer: func(_ context.Context, n int64) error {
				if n == 1 {
					return test.err
				}
				return nil
			}}
			client, d := p.client(t, quick())
			err := get(t.Context(), client)
			if test.again {
				require.NoError(t, err)
				require.EqualValues(t, 2, p.seen.Load())
			} else {
				require.Equal(t, status.Code(test.err), status.Code(err))
				require.EqualValues(t, 1, p.seen.Load())
			}
			rested(t, d)
		})
	}
}

func withRetryInfo(t *testing.T, code codes.Code, after time.Duration) error {
	t.Helper()
	st, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	require.NoError(t, err)
	return st.Err()
}

// TestAWriteIsTriedAgainOnlyWithItsKey: the key is what makes a repeat harmless.
func TestAWriteIsTriedAgainOnlyWithItsKey(t *testing.T) {
	p := &peer{answer: unavailable}
	client, _ := p.client(t, quick())
	require.Error(t, charge(t.Context(), client))
	require.EqualValues(t, 1, p.seen.Load())
	require.Error(t, charge(withKey(t.Context()), client))
	require.EqualValues(t, 1+3, p.seen.Load())
}

func TestAMethodWithoutAPolicyIsNeverRepeated(t *testing.T) {
	p := &peer{answer: unavailable}
	d, err := newRegistry(t).Add("payments", quick(), nil)
	require.NoError(t, err)
	require.Error(t, get(t.Context(), dial(t, d, p.serve(t))))
	require.EqualValues(t, 1, p.seen.Load())
}

// TestEveryAttemptSaysWhichItIs, so that an overloaded server can shed repeats
// first.
func TestEveryAttemptSaysWhichItIs(t *testing.T) {
	var mu sync.Mutex
	var said [][]string
	p := &peer{answer: func(ctx context.Context, _ int64) error {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, metadata.ValueFromIncomingContext(ctx, AttemptMetadata))
		return status.Error(codes.Unavailable, "away")
	}}
	client, _ := p.client(t, quick())
	require.Error(t, get(t.Context(), client))
	require.Equal(t, [][]string{nil, {"2"}, {"3"}}, said)
}

// TestTheDeadlineIsTheSoonerOfTheCallersAndThePolicys: waiting longer than a
// server works is waiting for nothing.
func TestTheDeadlineIsTheSoonerOfTheCallersAndThePolicys(t *testing.T) {
	for name, row := range map[string]struct{ asked, want time.Duration }{
		"none":   {0, 4 * time.Second},
		"later":  {time.Hour, 4 * time.Second},
		"sooner": {time.Second, time.Second},
	} {
		ctx := t.Context()
		if row.asked > 0 {
			bounded, cancel := context.WithTimeout(ctx, row.asked)
			defer cancel()
			ctx = bounded
		}
		var left time.Duration
		invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			deadline, ok := ctx.Deadline()
			require.True(t, ok, name)
			left = time.Until(deadline)
			return nil
		}
		require.NoError(t, newPayments(t, quick()).UnaryClientInterceptor()(ctx, paymentsv1.PaymentsService_ChargePayment_FullMethodName, nil, nil, nil, invoke))
		require.InDelta(t, row.want.Seconds(), left.Seconds(), 0.5, name)
	}
}

// TestAnAttemptAtAReadLeavesTimeForAnother: a replica that hangs costs half of
// the timeout, not all of it.
func TestAnAttemptAtAReadLeavesTimeForAnother(t *testing.T) {
	hangs := make(chan struct{})
	p := &peer{answer: func(_ context.Context, n int64) error {
		if n == 1 {
			<-hangs
		}
		return nil
	}}
	client, d := p.client(t, quick(func(c *Config) { c.AttemptPart = 0.1 })) // of 2 s
	t.Cleanup(func() { close(hangs) })
	require.NoError(t, get(t.Context(), client))
	require.EqualValues(t, 2, p.seen.Load())
	require.EqualValues(t, 1, d.breaker.circuit.Metrics().Failures(), "our own timeout is a failure")
	rested(t, d)
}

// TestPushbackIsObeyed in all the forms that gRPC has for it.
func TestPushbackIsObeyed(t *testing.T) {
	const least = 60 * time.Millisecond
	for name, test := range map[string]struct {
		trailer string
		err     error
		again   bool
	}{
		"a time in the trailer":        {trailer: "60", err: status.Error(codes.Unavailable, "away"), again: true},
		"never":                        {trailer: "-1", err: status.Error(codes.Unavailable, "away")},
		"unreadable, which is never":   {trailer: "soon", err: status.Error(codes.Unavailable, "away")},
		"RetryInfo":                    {err: withRetryInfo(t, codes.Unavailable, least), again: true},
		"the trailer before RetryInfo": {trailer: "-1", err: withRetryInfo(t, codes.Unavailable, least)},
		"longer than the call may be":  {trailer: "60000", err: status.Error(codes.Unavailable, "away")},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{}
			p.answer = func(ctx context.Context, n int64) error {
				if n > 1 {
					return nil
				}
				if test.trailer != "" {
					require.NoError(t, grpc.SetTrailer(ctx, metadata.Pairs(pushbackTrailer, test.trailer)))
				}
				return test.err
			}
			client, _ := p.client(t, quick())
			began := time.Now()
			err := get(t.Context(), client)
			if test.again {
				require.NoError(t, err)
				require.GreaterOrEqual(t, time.Since(began), least)
				return
			}
			require.Equal(t, codes.Unavailable, status.Code(err), "the real error, not that of a budget or a deadline")
			require.EqualValues(t, 1, p.seen.Load())
		})
	}
}

// TestNoAttemptBeginsThatCannotEnd: what is left of the deadline must cover the
// pause and what the method usually takes.
func TestNoAttemptBeginsThatCannotEnd(t *testing.T) {
	deadline := time.Now().Add(time.Second)
	require.True(t, fits(deadline, 100*time.Millisecond, 100*time.Millisecond))
	require.False(t, fits(deadline, 100*time.Millisecond, 950*time.Millisecond))
	require.False(t, fits(deadline, 1100*time.Millisecond, 0))
	require.True(t, fits(time.Time{}, time.Hour, time.Hour), "no deadline")

	p := &peer{answer: func(_ context.Context, n int64) error {
		if n == 1 {
			return nil
		}
		return status.Error(codes.Unavailable, "away")
	}}
	client, d := p.client(t, quick())
	require.NoError(t, get(t.Context(), client))
	d.method(paymentsv1.PaymentsService_GetPayment_FullMethodName).latency.nanos.Store(int64(time.Hour))
	require.Error(t, get(t.Context(), client))
	require.EqualValues(t, 2, p.seen.Load(), "a method that takes an hour is not tried again within two seconds")
}

// TestPausesAreJitteredAndBounded: full jitter over a bound that doubles.
func TestPausesAreJitteredAndBounded(t *testing.T) {
	cfg := Defaults()
	for n, bound := range map[int]time.Duration{1: cfg.Backoff, 2: 2 * cfg.Backoff, 3: 4 * cfg.Backoff, 9: cfg.MaxBackoff, 60: cfg.MaxBackoff} {
		var least, most time.Duration = time.Hour, 0
		for range 2000 {
			p := cfg.pause(n, 0)
			least, most = min(least, p), max(most, p)
			require.LessOrEqual(t, p, bound)
		}
		require.Less(t, least, bound/10, "attempt %d", n)
		require.Greater(t, most, bound*9/10, "attempt %d", n)
		require.GreaterOrEqual(t, cfg.pause(n, time.Second), time.Second, "at least what the server asked for")
	}
}

// failed counts calls and requires that each fails.
func failed(t *testing.T, calls int, call func() error) {
	t.Helper()
	for range calls {
		require.Error(t, call())
	}
}

// loadOf is what a dependency gets that fails every one of so many calls, of
// which each pays in for ratio retries.
func loadOf(t *testing.T, calls int, ratio float64) float64 {
	t.Helper()
	p := &peer{answer: unavailable}
	client, d := p.client(t, quick(func(c *Config) { c.RetryRatio, c.BreakerRate, c.BreakerMinCalls = ratio, 1, 1e6 }))
	failed(t, calls, func() error { return get(t.Context(), client) })
	rested(t, d)
	return float64(p.seen.Load())
}

// TestAFailingDependencyGetsATenthMore is the arithmetic of the retry budget:
// attempts are at most 1.1 times the calls, and the reserve.
func TestAFailingDependencyGetsATenthMore(t *testing.T) {
	const calls = 1000
	require.LessOrEqual(t, loadOf(t, calls, 0.1), 1.1*calls+reserve/repeatCost)
}

// TestWithoutABudgetAFailingDependencyGetsTwiceTheLoad is the control.
func TestWithoutABudgetAFailingDependencyGetsTwiceTheLoad(t *testing.T) {
	const calls = 1000
	require.Equal(t, 2.0*calls+reserve/repeatCost, loadOf(t, calls, 1), "a retry for each call")
}

// middle is a service that calls the dependency for each of its own calls.
type middle struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	below paymentsv1.PaymentsServiceClient
}

func (m *middle) GetPayment(ctx context.Context, r *paymentsv1.GetPaymentRequest) (*paymentsv1.GetPaymentResponse, error) {
	return m.below.GetPayment(ctx, r)
}

// loadOverLayers is what arrives at a dependency that fails, and at a service
// between it and the client, of one call. Told, the layers know of each other.
func loadOverLayers(t *testing.T, told bool) (atBottom, atMiddle int64) {
	t.Helper()
	p := &peer{answer: unavailable}
	unlimited := quick(func(c *Config) { c.RetryRatio, c.BreakerMinCalls = 1, 1e6 })
	below, _ := p.client(t, unlimited)
	var arrived atomic.Int64
	opts := []grpc.UnaryServerInterceptor{func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		arrived.Add(1)
		return handler(ctx, request)
	}}
	if told {
		opts = append(opts, UnaryServerInterceptor())
	}
	address := serve(t, func(r grpc.ServiceRegistrar) { paymentsv1.RegisterPaymentsServiceServer(r, &middle{below: below}) }, grpc.ChainUnaryInterceptor(opts...))
	require.Error(t, get(t.Context(), dial(t, newPayments(t, unlimited), address)))
	return p.seen.Load(), arrived.Load()
}

// TestRetriesDoNotMultiplyOverLayers: a service between the client and what
// fails has retried already, and says so.
func TestRetriesDoNotMultiplyOverLayers(t *testing.T) {
	bottom, between := loadOverLayers(t, true)
	require.EqualValues(t, 3, bottom)
	require.EqualValues(t, 1, between, "what has been retried below is not retried above")
}

// TestLayersThatDoNotKnowOfEachOtherMultiply is the control.
func TestLayersThatDoNotKnowOfEachOtherMultiply(t *testing.T) {
	bottom, between := loadOverLayers(t, false)
	require.EqualValues(t, 9, bottom)
	require.EqualValues(t, 3, between)
}

// TestARetryIsNotRetriedBelow: the chain's retry is used up, and what is below
// knows that it serves one.
func TestARetryIsNotRetriedBelow(t *testing.T) {
	p := &peer{answer: unavailable}
	var number []string
	inner := p.answer
	p.answer = func(ctx context.Context, n int64) error {
		number = metadata.ValueFromIncomingContext(ctx, AttemptMetadata)
		return inner(ctx, n)
	}
	below, _ := p.client(t, quick())
	address := serve(t, func(r grpc.ServiceRegistrar) { paymentsv1.RegisterPaymentsServiceServer(r, &middle{below: below}) },
		grpc.ChainUnaryInterceptor(UnaryServerInterceptor()))
	var trailer metadata.MD
	_, err := dial(t, nil, address).GetPayment(metadata.AppendToOutgoingContext(t.Context(), AttemptMetadata, "2"),
		&paymentsv1.GetPaymentRequest{}, grpc.Trailer(&trailer))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.EqualValues(t, 1, p.seen.Load())
	require.Equal(t, []string{"2"}, number)
	require.Equal(t, []string{doNotRetry}, trailer.Get(pushbackTrailer))
}

// TestAnAnswerSaysHowManyAttemptsItTook.
func TestAnAnswerSaysHowManyAttemptsItTook(t *testing.T) {
	p := &peer{answer: func(_ context.Context, n int64) error {
		if n < 3 {
			return status.Error(codes.Unavailable, "away")
		}
		return nil
	}}
	below, _ := p.client(t, quick())
	address := serve(t, func(r grpc.ServiceRegistrar) { paymentsv1.RegisterPaymentsServiceServer(r, &middle{below: below}) },
		grpc.ChainUnaryInterceptor(UnaryServerInterceptor()))
	var trailer metadata.MD
	_, err := dial(t, nil, address).GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{}, grpc.Trailer(&trailer))
	require.NoError(t, err)
	require.Equal(t, []string{"3"}, trailer.Get(AttemptsTrailer))
	require.Empty(t, trailer.Get(pushbackTrailer), "it succeeded")
}

// TestAFallbackAnswersForWhatHasFailed for good, and for nothing else.
func TestAFallbackAnswersForWhatHasFailed(t *testing.T) {
	p := &peer{answer: unavailable}
	client, _ := p.client(t, quick())
	asked := 0
	yesterday := Fallback(func(_ context.Context, into any, err error) error {
		asked++
		require.Equal(t, codes.Unavailable, status.Code(err))
		into.(*paymentsv1.GetPaymentResponse).Payment = &paymentsv1.Payment{Id: "yesterday's"}
		return nil
	})
	answer, err := client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{}, yesterday)
	require.NoError(t, err)
	require.Equal(t, "yesterday's", answer.GetPayment().GetId())
	require.EqualValues(t, 3, p.seen.Load(), "after the last attempt")
	require.Equal(t, 1, asked)

	t.Run("without one, the call fails", func(t *testing.T) {
		require.Equal(t, codes.Unavailable, status.Code(get(t.Context(), client)))
	})
	t.Run("one that has nothing to give says why", func(t *testing.T) {
		nothing := errors.New("no value of yesterday")
		_, err := client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{},
			Fallback(func(context.Context, any, error) error { return nothing }))
		require.ErrorIs(t, err, nothing)
	})
	t.Run("an answer is not replaced", func(t *testing.T) {
		well, _ := (&peer{}).client(t, quick())
		answer, err := well.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Id: "today's"}, yesterday)
		require.NoError(t, err)
		require.Equal(t, "today's", answer.GetPayment().GetId())
		require.Equal(t, 1, asked)
	})
}

// TestAFallbackAnswersForWhatIsNotEvenCalled: an open breaker is what it is for.
func TestAFallbackAnswersForWhatIsNotEvenCalled(t *testing.T) {
	p := &peer{}
	client, d := p.client(t, quick())
	d.breaker.force(forcedOpen)
	_, err := client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{}, Fallback(func(_ context.Context, _ any, err error) error {
		require.Equal(t, apierror.ReasonBreakerOpen, reason(err))
		return nil
	}))
	require.NoError(t, err)
	require.Zero(t, p.seen.Load())
}
