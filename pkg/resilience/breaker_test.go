package resilience

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// touchy opens after a few failures and probes soon; it never retries.
func touchy(changes ...func(*Config)) Config {
	return quick(append([]func(*Config){func(c *Config) {
		c.MaxAttempts, c.BreakerMinCalls, c.BreakerOpenFor = 1, 5, 50*time.Millisecond
	}}, changes...)...)
}

// reason is why a call was refused or failed.
func reason(err error) apierror.Reason {
	r, _ := apierror.ReasonOf(err)
	return r
}

// TestTheBreakerOpensProbesAndCloses is its whole life.
func TestTheBreakerOpensProbesAndCloses(t *testing.T) {
	var well atomic.Bool
	p := &peer{answer: func(context.Context, int64) error {
		if well.Load() {
			return nil
		}
		return status.Error(codes.Internal, "broken")
	}}
	client, d := p.client(t, touchy())
	failed(t, 5, func() error { return get(t.Context(), client) })
	require.Equal(t, "open", d.breaker.state())

	err := get(t.Context(), client)
	require.Equal(t, codes.Unavailable, status.Code(err), "typed, not UNKNOWN")
	require.Equal(t, apierror.ReasonBreakerOpen, reason(err))
	require.Positive(t, apierror.From(err).RetryAfter())
	require.EqualValues(t, 5, p.seen.Load(), "it was not called")

	require.Eventually(t, func() bool { return reason(get(t.Context(), client)) == "" }, 10*time.Second, time.Millisecond)
	require.Equal(t, "open", d.breaker.state(), "one failed probe opens it again")

	well.Store(true)
	require.Eventually(t, func() bool { _ = get(t.Context(), client); return d.breaker.state() == "closed" }, 10*time.Second, time.Millisecond)
	require.NoError(t, get(t.Context(), client))
	rested(t, d)
}

// TestWhatABreakerCounts is the table of what opens it.
func TestWhatABreakerCounts(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		opens bool
	}{
		"unavailable":           {apierror.New(apierror.ReasonDependencyUnavailable, "away"), true},
		"another's unavailable": {status.Error(codes.Unavailable, "away"), true},
		"a bug":                 {apierror.New(apierror.ReasonInternal, "bug"), true},
		"unknown":               {status.Error(codes.Unknown, "?"), true},
		"data loss":             {status.Error(codes.DataLoss, "gone"), true},
		"draining":              {apierror.New(apierror.ReasonDraining, "a rolling deploy"), false},
		"shedding":              {apierror.New(apierror.ReasonOverloaded, "busy"), false},
		"its own breaker":       {apierror.New(apierror.ReasonBreakerOpen, "below"), false},
		"rate limited":          {apierror.New(apierror.ReasonRateLimited, "slower"), false},
		"not found":             {apierror.New(apierror.ReasonNotFound, "no"), false},
		"a bad request":         {apierror.New(apierror.ReasonInvalidField, "no"), false},
		"a key in flight":       {apierror.New(apierror.ReasonKeyInFlight, "wait"), false},
		"no permission":         {apierror.New(apierror.ReasonPermissionDenied, "no"), false},
		"unimplemented":         {status.Error(codes.Unimplemented, "no"), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{answer: func(context.Context, int64) error { return test.err }}
			client, d := p.client(t, touchy())
			failed(t, 10, func() error { return get(t.Context(), client) })
			require.Equal(t, test.opens, d.breaker.state() == "open")
		})
	}
}

// TestACallerThatLeavesOpensNothing: its cancel, and a deadline too short to
// learn from, say nothing about the dependency.
func TestACallerThatLeavesOpensNothing(t *testing.T) {
	p := &peer{answer: func(ctx context.Context, _ int64) error { <-ctx.Done(); return ctx.Err() }}
	client, d := p.client(t, touchy())
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		require.Error(t, get(ctx, client))
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(2*time.Millisecond, cancel)
		require.Equal(t, codes.Canceled, status.Code(get(ctx, client)))
	}
	require.Equal(t, "closed", d.breaker.state())
	require.Zero(t, d.breaker.circuit.Metrics().Executions())
	rested(t, d)
}

// TestOurOwnTimeoutAndSlownessOpenIt: what hangs fails as surely as what errs.
func TestOurOwnTimeoutAndSlownessOpenIt(t *testing.T) {
	t.Run("timeout", func(t *testing.T) {
		p := &peer{answer: func(ctx context.Context, _ int64) error { <-ctx.Done(); return ctx.Err() }}
		client, d := p.client(t, touchy(func(c *Config) { c.AttemptPart = 0.01 })) // 20 ms
		failed(t, 5, func() error { return get(t.Context(), client) })
		require.Equal(t, "open", d.breaker.state())
	})
	t.Run("slow", func(t *testing.T) {
		// Twice what counts as slow, and an answer all the same.
		p := &peer{answer: func(context.Context, int64) error { time.Sleep(10 * time.Millisecond); return nil }}
		client, d := p.client(t, touchy(func(c *Config) { c.BreakerSlow = 5 * time.Millisecond }))
		for range 5 {
			_ = get(t.Context(), client)
		}
		require.Equal(t, "open", d.breaker.state())
	})
}

// TestTheBreakerIsNeverWedged: under concurrency, with panics, cancels and every
// kind of answer, no probe is lost: when the dependency is well again, the
// breaker closes.
func TestTheBreakerIsNeverWedged(t *testing.T) {
	var well atomic.Bool
	p := &peer{answer: func(ctx context.Context, _ int64) error {
		if well.Load() {
			return nil
		}
		switch rand.IntN(4) {
		case 0:
			return apierror.New(apierror.ReasonDraining, "leaving")
		case 1:
			<-ctx.Done()
			return ctx.Err()
		default:
			return status.Error(codes.Internal, "broken")
		}
	}}
	d := newPayments(t, touchy(func(c *Config) { c.BreakerOpenFor, c.BreakerProbes = time.Millisecond, 2 }))
	panics := func(ctx context.Context, name string, request, reply any, conn *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if !well.Load() && rand.IntN(4) == 0 {
			panic("in the transport")
		}
		return invoker(ctx, name, request, reply, conn, opts...)
	}
	conn, err := grpc.NewClient(p.serve(t), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(d.UnaryClientInterceptor(), panics))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	client := paymentsv1.NewPaymentsServiceClient(conn)

	var load sync.WaitGroup
	for range 16 {
		load.Go(func() {
			for range 200 {
				func() {
					defer func() { _ = recover() }()
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(4))*time.Millisecond)
					defer cancel()
					_ = get(ctx, client)
				}()
			}
		})
	}
	load.Wait()
	well.Store(true)
	require.Eventually(t, func() bool { return get(t.Context(), client) == nil && d.breaker.state() == "closed" }, 10*time.Second, time.Millisecond)
	rested(t, d)
}

// TestAProbeThatSaysNothingMakesRoomForAnother.
func TestAProbeThatSaysNothingMakesRoomForAnother(t *testing.T) {
	b := newBreaker(touchy(func(c *Config) { c.BreakerProbes = 1 }), func(string, string) {})
	b.circuit.Open()
	b.circuit.HalfOpen()
	for range 3 {
		p, _, ok := b.acquire()
		require.True(t, ok)
		_, _, ok = b.acquire()
		require.False(t, ok, "one probe at a time")
		b.settle(p, Neutral, 0)
	}
	p, _, _ := b.acquire()
	b.settle(p, Healthy, 0)
	require.Equal(t, "closed", b.state())
}

// TestAProbeThatFindsTheBulkheadFullIsGivenBack: it was never sent.
func TestAProbeThatFindsTheBulkheadFullIsGivenBack(t *testing.T) {
	d := newPayments(t, touchy(func(c *Config) { c.BreakerProbes, c.MaxConcurrent, c.MaxWait = 1, 1, 0 }))
	d.breaker.circuit.Open()
	d.breaker.circuit.HalfOpen()
	require.True(t, d.bulkhead.TryAcquirePermit())
	_, err := d.admit(t.Context())
	require.Equal(t, apierror.ReasonOverloaded, reason(err))
	d.bulkhead.ReleasePermit()
	rested(t, d)
	_, _, ok := d.breaker.acquire()
	require.True(t, ok, "another may probe")
}

// TestLateOutcomesOfAnotherStateCountForNothing: what was sent before the
// breaker opened must not decide what its probes are for.
func TestLateOutcomesOfAnotherStateCountForNothing(t *testing.T) {
	b := newBreaker(touchy(func(c *Config) { c.BreakerProbes = 1 }), func(string, string) {})
	early, _, ok := b.acquire()
	require.True(t, ok)
	b.circuit.Open()
	b.circuit.HalfOpen()
	b.settle(early, Healthy, 0)
	require.Equal(t, "half-open", b.state(), "an old success closes nothing")
	b.settle(early, Failing, 0)
	require.Equal(t, "half-open", b.state(), "an old failure opens nothing")
}

// TestAFullBulkheadRefusesTyped, after a short wait, and is no failure of the
// dependency.
func TestAFullBulkheadRefusesTyped(t *testing.T) {
	entered, release := make(chan struct{}, 10), make(chan struct{})
	p := &peer{answer: func(context.Context, int64) error { entered <- struct{}{}; <-release; return nil }}
	client, d := p.client(t, touchy(func(c *Config) { c.MaxConcurrent, c.MaxWait = 2, time.Millisecond }))
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() { _ = get(t.Context(), client) })
		<-entered
	}
	for range 10 {
		err := get(t.Context(), client)
		require.Equal(t, apierror.ReasonOverloaded, reason(err))
		require.Equal(t, codes.Unavailable, status.Code(err))
	}
	require.Equal(t, "closed", d.breaker.state())
	close(release)
	held.Wait()
	require.NoError(t, get(t.Context(), client))
	rested(t, d)
}

// TestAWaitInTheBulkheadEndsWithItsCaller.
func TestAWaitInTheBulkheadEndsWithItsCaller(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	p := &peer{answer: func(context.Context, int64) error { close(entered); <-release; return nil }}
	client, d := p.client(t, touchy(func(c *Config) { c.MaxConcurrent, c.MaxWait = 1, time.Hour }))
	var held sync.WaitGroup
	held.Go(func() { _ = get(t.Context(), client) })
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, get(ctx, client), context.DeadlineExceeded)
	close(release)
	held.Wait()
	rested(t, d)
}
