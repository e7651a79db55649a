package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	stockbudget "github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// Twelve ways in which the stock integrations of failsafe-go 0.9.8 fail a gRPC
// service, each as two tests: "stock" shows the trap, and that this package has a
// reason to exist; "ours" that it is not in here. When a newer failsafe-go makes
// a "stock" test fail, something of this package may go.

// stock is a client with policies of failsafe-go, composed by itself.
func stock(t *testing.T, address string, policies ...failsafe.Policy[any]) paymentsv1.PaymentsServiceClient {
	t.Helper()
	return dial(t, nil, address, grpc.WithUnaryInterceptor(failsafegrpc.NewUnaryClientInterceptor(policies...)))
}

func unavailable(context.Context, int64) error { return status.Error(codes.Unavailable, "away") }

// TestTrapHedgesShareOneMessage: two attempts decode into the caller's message at
// once. It is a data race, so it is not run here but shown by the pointers.
func TestTrapHedgesShareOneMessage(t *testing.T) {
	run := func(hedging grpc.UnaryClientInterceptor) map[any]bool {
		var mu sync.Mutex
		messages := map[any]bool{}
		reply := &paymentsv1.GetPaymentResponse{}
		err := hedging(t.Context(), paymentsv1.PaymentsService_GetPayment_FullMethodName, nil, reply, nil,
			func(ctx context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				mu.Lock()
				messages[reply] = true
				second := len(messages) > 1
				mu.Unlock()
				if second {
					return nil
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(50 * time.Millisecond):
					return nil
				}
			})
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		return messages
	}
	t.Run("stock", func(t *testing.T) {
		require.Len(t, run(failsafegrpc.NewUnaryClientInterceptor[any](hedgepolicy.NewWithDelay[any](time.Millisecond))), 1)
	})
	t.Run("ours", func(t *testing.T) {
		require.Len(t, run(newPayments(t, quick(hedging)).UnaryClientInterceptor()), 2)
	})
}

// TestTrapErrorsOfPoliciesHaveNoStatus.
func TestTrapErrorsOfPoliciesHaveNoStatus(t *testing.T) {
	address := (&peer{}).serve(t)
	t.Run("stock", func(t *testing.T) {
		open := circuitbreaker.NewWithDefaults[any]()
		open.Open()
		require.Equal(t, codes.Unknown, status.Code(get(t.Context(), stock(t, address, open))))
	})
	t.Run("ours", func(t *testing.T) {
		d := newPayments(t, quick())
		d.breaker.circuit.Open()
		require.Equal(t, codes.Unavailable, status.Code(get(t.Context(), dial(t, d, address))))
	})
}

// TestTrapATapHandleAnswersPermissionDenied to whoever comes when it is full:
// clients are told to stop asking. Ours refuses in an interceptor.
func TestTrapATapHandleAnswersPermissionDenied(t *testing.T) {
	t.Run("stock", func(t *testing.T) {
		open := circuitbreaker.NewWithDefaults[any]()
		open.Open()
		address := (&peer{}).serve(t, grpc.InTapHandle(failsafegrpc.NewServerInHandle[any](open)))
		require.Equal(t, codes.PermissionDenied, status.Code(get(t.Context(), dial(t, nil, address))))
	})
	t.Run("ours", func(t *testing.T) {
		require.Equal(t, codes.Unavailable, status.Code(errOpen("payments", 0)))
		require.Equal(t, codes.Unavailable, status.Code(errFull("payments")))
	})
}

// crowd sends calls at once and returns how many were in the handler together.
func crowd(t *testing.T, calls int, client func(p *peer) paymentsv1.PaymentsServiceClient) int64 {
	t.Helper()
	var inside, most atomic.Int64
	p := &peer{answer: func(context.Context, int64) error {
		now := inside.Add(1)
		defer inside.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		time.Sleep(50 * time.Millisecond)
		return nil
	}}
	c := client(p)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() { _ = get(t.Context(), c) })
	}
	all.Wait()
	return most.Load()
}

// TestTrapATapHandleAloneLimitsNothing: it takes a permit and gives it back
// before the handler runs.
func TestTrapATapHandleAloneLimitsNothing(t *testing.T) {
	t.Run("stock", func(t *testing.T) {
		require.Greater(t, crowd(t, 20, func(p *peer) paymentsv1.PaymentsServiceClient {
			return dial(t, nil, p.serve(t, grpc.InTapHandle(failsafegrpc.NewServerInHandle[any](bulkhead.New[any](2)))))
		}), int64(2))
	})
	t.Run("ours", func(t *testing.T) {
		require.LessOrEqual(t, crowd(t, 20, func(p *peer) paymentsv1.PaymentsServiceClient {
			client, _ := p.client(t, quick(func(c *Config) { c.MaxConcurrent, c.MaxWait = 2, time.Minute }))
			return client
		}), int64(2))
	})
}

// TestTrapATapHandleCountsASuccessForEveryCall, so that a breaker that it shares
// with an interceptor never opens.
func TestTrapATapHandleCountsASuccessForEveryCall(t *testing.T) {
	t.Run("stock", func(t *testing.T) {
		breaker := circuitbreaker.NewBuilder[any]().WithFailureThresholdRatio(6, 10).Build()
		p := &peer{answer: unavailable}
		client := dial(t, nil, p.serve(t,
			grpc.InTapHandle(failsafegrpc.NewServerInHandle[any](breaker)),
			grpc.UnaryInterceptor(failsafegrpc.NewUnaryServerInterceptor[any](breaker))))
		failed(t, 50, func() error { return get(t.Context(), client) })
		require.Equal(t, circuitbreaker.ClosedState, breaker.State(), "of 50 calls, all failed")
	})
	t.Run("ours", func(t *testing.T) {
		p := &peer{answer: unavailable}
		client, d := p.client(t, touchy(func(c *Config) { c.BreakerRate = 0.6 }))
		failed(t, 50, func() error { return get(t.Context(), client) })
		require.Equal(t, "open", d.breaker.state())
	})
}

// TestTrapTheServerInterceptorWaitsPastTheDeadline: it does not look at the
// request's context.
func TestTrapTheServerInterceptorWaitsPastTheDeadline(t *testing.T) {
	const deadline, wait = 20 * time.Millisecond, 300 * time.Millisecond
	t.Run("stock", func(t *testing.T) {
		full := bulkhead.NewBuilder[any](1).WithMaxWaitTime(wait).Build()
		require.True(t, full.TryAcquirePermit())
		intercept := failsafegrpc.NewUnaryServerInterceptor[any](full)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		began := time.Now()
		_, err := intercept(ctx, nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return nil, nil })
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.GreaterOrEqual(t, time.Since(began), wait)
	})
	t.Run("ours", func(t *testing.T) {
		d := newPayments(t, quick(func(c *Config) { c.MaxConcurrent, c.MaxWait = 1, time.Hour }))
		require.True(t, d.bulkhead.TryAcquirePermit())
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		_, err := d.admit(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "an hour was not waited")
	})
}

// TestTrapAPanicLeaksItsPermit, and wedges a half-open breaker.
func TestTrapAPanicLeaksItsPermit(t *testing.T) {
	boom := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { panic("boom") }
	call := func(intercept grpc.UnaryClientInterceptor) {
		require.Panics(t, func() {
			_ = intercept(t.Context(), paymentsv1.PaymentsService_GetPayment_FullMethodName, nil, &paymentsv1.GetPaymentResponse{}, nil, boom)
		})
	}
	t.Run("stock", func(t *testing.T) {
		one := bulkhead.New[any](1)
		call(failsafegrpc.NewUnaryClientInterceptor[any](one))
		require.False(t, one.TryAcquirePermit(), "leaked for good")
		breaker := circuitbreaker.NewBuilder[any]().WithDelay(time.Nanosecond).Build()
		breaker.Open()
		call(failsafegrpc.NewUnaryClientInterceptor[any](breaker))
		require.Equal(t, circuitbreaker.HalfOpenState, breaker.State())
		require.False(t, breaker.TryAcquirePermit(), "half-open for ever")
	})
	t.Run("ours", func(t *testing.T) {
		d := newPayments(t, touchy(func(c *Config) { c.MaxConcurrent, c.BreakerProbes = 1, 1 }))
		d.breaker.circuit.Open()
		d.breaker.circuit.HalfOpen()
		call(d.UnaryClientInterceptor())
		rested(t, d)
		_, _, ok := d.breaker.acquire()
		require.True(t, ok)
	})
}

// TestTrapTheDefaultBreakerOpensForAMinuteAfterOneError of any kind.
func TestTrapTheDefaultBreakerOpensForAMinuteAfterOneError(t *testing.T) {
	p := &peer{answer: func(context.Context, int64) error { return status.Error(codes.NotFound, "no such payment") }}
	address := p.serve(t)
	t.Run("stock", func(t *testing.T) {
		breaker := circuitbreaker.NewWithDefaults[any]()
		require.Error(t, get(t.Context(), stock(t, address, breaker)))
		require.Equal(t, circuitbreaker.OpenState, breaker.State())
		require.Greater(t, breaker.RemainingDelay(), 50*time.Second)
	})
	t.Run("ours", func(t *testing.T) {
		d := newPayments(t, quick())
		client := dial(t, d, address)
		failed(t, 100, func() error { return get(t.Context(), client) })
		require.Equal(t, "closed", d.breaker.state())
	})
}

// TestTrapTheBudgetIsAskedAfterThePause, and its error hides the real one.
func TestTrapTheBudgetIsAskedAfterThePause(t *testing.T) {
	address := (&peer{answer: unavailable}).serve(t)
	const pause = 100 * time.Millisecond
	t.Run("stock", func(t *testing.T) {
		none := stockbudget.NewBuilder().WithMaxRate(-1).WithMinConcurrency(0).Build()
		retry := failsafegrpc.NewRetryPolicyBuilder[any]().WithDelay(pause).WithBudget(none).Build()
		began := time.Now()
		err := get(t.Context(), stock(t, address, retry))
		require.ErrorIs(t, err, stockbudget.ErrExceeded)
		require.Equal(t, codes.Unknown, status.Code(err))
		require.GreaterOrEqual(t, time.Since(began), pause)
	})
	t.Run("ours", func(t *testing.T) {
		d := newPayments(t, quick(func(c *Config) { c.RetryRatio, c.Backoff, c.MaxBackoff = 0, time.Hour, time.Hour }))
		d.methods[paymentsv1.PaymentsService_GetPayment_FullMethodName].timeout = 0 // an hour would fit
		require.Equal(t, codes.Unavailable, status.Code(get(t.Context(), dial(t, d, address))))
	})
}

// TestTrapBackoffIgnoresTheDeadline: it sleeps into it, and the caller gets
// nothing but a timeout.
func TestTrapBackoffIgnoresTheDeadline(t *testing.T) {
	address := (&peer{answer: unavailable}).serve(t)
	ask := func(t *testing.T, client paymentsv1.PaymentsServiceClient) error {
		require.Error(t, get(t.Context(), client)) // connected
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return get(ctx, client)
	}
	t.Run("stock", func(t *testing.T) {
		retry := failsafegrpc.NewRetryPolicyBuilder[any]().WithMaxRetries(1).WithDelayFunc(func(failsafe.ExecutionAttempt[any]) time.Duration {
			return 400 * time.Millisecond
		}).Build()
		err := ask(t, stock(t, address, retry))
		require.ErrorIs(t, err, context.DeadlineExceeded, "slept to the end: %v", err)
	})
	t.Run("ours", func(t *testing.T) {
		d := newPayments(t, quick())
		d.methods[paymentsv1.PaymentsService_GetPayment_FullMethodName].latency.observe(time.Hour)
		require.Equal(t, codes.Unavailable, status.Code(ask(t, dial(t, d, address))), "the real error, while there was time")
	})
}

// TestTrapATimeoutIsCooperative: what does not watch its context runs on, and
// the caller waits for it. gRPC's own transport does watch; what is put between
// must, too.
func TestTrapATimeoutIsCooperative(t *testing.T) {
	const limit, deaf = 5 * time.Millisecond, 60 * time.Millisecond
	t.Run("stock", func(t *testing.T) {
		began := time.Now()
		err := failsafe.With[any](timeout.New[any](limit)).Run(func() error { time.Sleep(deaf); return nil })
		require.ErrorIs(t, err, timeout.ErrExceeded)
		require.GreaterOrEqual(t, time.Since(began), deaf)
	})
	t.Run("ours", func(t *testing.T) {
		hangs := make(chan struct{})
		p := &peer{answer: func(context.Context, int64) error { <-hangs; return nil }}
		client, d := p.client(t, quick(func(c *Config) { c.MaxAttempts, c.AttemptPart = 1, 0.01 }))
		t.Cleanup(func() { close(hangs) })
		require.Equal(t, codes.DeadlineExceeded, status.Code(get(t.Context(), client)), "with a server that never answers")
		rested(t, d)
	})
}

// TestTrapHTTPIsRepeatedBlindly: a POST without a key is sent again, the bodies
// of failed attempts stay open, and a date in Retry-After is ignored while an
// hour is slept.
func TestTrapHTTPIsRepeatedBlindly(t *testing.T) {
	inAnHour := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	t.Run("stock", func(t *testing.T) {
		var posts atomic.Int64
		closed := &closings{answer: func() *http.Response {
			posts.Add(1)
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}}
		}}
		client := &http.Client{Transport: failsafehttp.NewRoundTripper(closed, failsafehttp.NewRetryPolicyBuilder().WithDelay(0).Build())}
		response, err := client.Post("http://site", "text/plain", strings.NewReader("charge"))
		if err == nil {
			response.Body.Close()
		}
		require.EqualValues(t, 3, posts.Load(), "three charges")
		require.Less(t, closed.closed.Load(), int64(3))

		delay := func(value string) time.Duration {
			var waits time.Duration
			policy := failsafehttp.NewRetryPolicyBuilder().OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[*http.Response]) { waits = e.Delay }).Build()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://site", nil)
			require.NoError(t, err)
			busy := &closings{answer: func() *http.Response {
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {value}}}
			}}
			response, err := (&http.Client{Transport: failsafehttp.NewRoundTripper(busy, policy)}).Do(request)
			if err == nil {
				response.Body.Close()
			}
			return waits
		}
		require.Less(t, delay(inAnHour), time.Minute, "a date says nothing to it")
		require.Equal(t, time.Hour, delay("3600"), "within a deadline of 50 ms")
	})
	t.Run("ours", func(t *testing.T) {
		var posts atomic.Int64
		closed := &closings{answer: func() *http.Response {
			posts.Add(1)
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {inAnHour}}}
		}}
		d, err := newRegistry(t).Add("site", quick(), nil)
		require.NoError(t, err)
		client := &http.Client{Transport: d.Transport(closed, 0)}
		response, err := client.Post("http://site", "text/plain", strings.NewReader("charge"))
		require.NoError(t, err)
		response.Body.Close()
		require.EqualValues(t, 1, posts.Load())
		require.EqualValues(t, 1, closed.closed.Load())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://site", nil)
		require.NoError(t, err)
		response, err = client.Do(request)
		require.NoError(t, err, "at once: an hour does not fit into a minute")
		response.Body.Close()
		require.EqualValues(t, 2, posts.Load())
	})
}

// closings is a transport that counts how many of its bodies were closed.
type closings struct {
	closed atomic.Int64
	answer func() *http.Response
}

func (c *closings) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response := c.answer()
	response.Request = r
	response.Body = &countedBody{Reader: strings.NewReader("why"), closed: &c.closed}
	return response, nil
}

type countedBody struct {
	io.Reader
	closed *atomic.Int64
}

func (b *countedBody) Close() error {
	if b.closed == nil {
		return errors.New("closed twice")
	}
	b.closed.Add(1)
	b.closed = nil
	return nil
}
