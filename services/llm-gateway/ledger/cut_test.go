package ledger_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// TestARequestCutAtAnyMessageIsBookedOnce runs a request with a fallback once for
// every message between us and the database, cutting the connection in front of
// that message.
func TestARequestCutAtAnyMessageIsBookedOnce(t *testing.T) {
	for _, fromServer := range []bool{false, true} {
		direction := map[bool]string{false: "to the server", true: "from the server"}[fromServer]
		t.Run(direction, func(t *testing.T) {
			b := newBooks(t)
			proxy, through := pgproxy.New(t, b.url)
			far := &books{Ledger: ledger.New(connect(t, through, 1)), url: through}
			own, all := day("daily", tenant, 1000*dollar), day("overall", "", 1000*dollar)
			done := int64(0)
			run := func(what string) {
				r := keyed(request(dollar, all, own), what)
				held := far.reserve(t, r)
				require.NoError(t, held.Next(t.Context(), failure(), attempt(2*dollar)), what)
				require.NoError(t, held.Renew(t.Context()), what)
				require.NoError(t, held.Settle(t.Context(), billed(3), answer(what)), what)
				done++
				require.Equal(t, account{Settled: 3 * done}, b.of(t, own), what)
				require.Equal(t, account{Settled: 3 * done}, b.of(t, all), what)
				require.EqualValues(t, 2*done, scalar[int](t, b, `SELECT count(*) FROM llm_attempts`), what)
				_, replay, err := b.Reserve(t.Context(), again(r))
				require.NoError(t, err, what)
				require.Equal(t, what, string(replay.Body))
			}
			for n := 0; ; n++ {
				run(fmt.Sprint("preparing what a cut connection lost, ", n))
				proxy.CutBefore(n, fromServer, nil)
				run(fmt.Sprintf("cut in front of message %d %s", n, direction))
				if !proxy.Disarm() {
					require.Greater(t, n, 10, "the proxy saw the messages")
					return
				}
			}
		})
	}
}

func TestAReservationThatNobodyConfirmsIsWithdrawn(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	proxy, through := pgproxy.New(t, b.url)
	far := &books{Ledger: ledger.New(connect(t, through, 1)), url: through}
	warm := far.reserve(t, request(dollar, own)) // connects, and prepares statements
	require.NoError(t, warm.Next(t.Context(), failure(), attempt(dollar)))
	require.NoError(t, warm.Release(t.Context(), failure()))
	held := far.reserve(t, request(dollar, own))

	// cut loses the reply, and lets nobody connect until the caller has left.
	cut := func(do func(ctx context.Context) error) error {
		release := proxy.Hold()
		proxy.CutBefore(0, true, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		stop := context.AfterFunc(ctx, release)
		defer stop()
		return do(ctx)
	}
	err := cut(func(ctx context.Context) error {
		_, _, err := far.Reserve(ctx, request(4*dollar, own))
		return err
	})
	requireReason(t, err, apierror.ReasonOutcomeUnknown)
	require.Equal(t, account{Reserved: dollar}, b.of(t, own))
	require.Equal(t, 4, scalar[int](t, b, `SELECT count(*) FROM llm_attempts`), "it had happened")

	warm = far.reserve(t, request(dollar, own)) // the cut connection's statements
	require.NoError(t, warm.Next(t.Context(), failure(), attempt(dollar)))
	require.NoError(t, warm.Release(t.Context(), failure()))
	err = cut(func(ctx context.Context) error { return held.Next(ctx, failure(), attempt(3*dollar)) })
	requireReason(t, err, apierror.ReasonOutcomeUnknown)
	require.Equal(t, account{}, b.of(t, own))
	proxy.CutBefore(0, true, nil) // a send whose reply is lost must not be taken for the one before
	require.ErrorIs(t, held.Next(t.Context(), failure(), attempt(dollar)), ledger.ErrFenced, "the request is over")
	proxy.Disarm()
	require.NoError(t, held.Release(t.Context(), failure()), "which is harmless")
	require.Equal(t, account{}, b.of(t, own))
}

func TestSettlingDoesNotEndWithTheClient(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(dollar, own))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, held.Settle(gone, billed(7), nil))
	require.Equal(t, account{Settled: 7}, b.of(t, own))
}

func requireReason(t *testing.T, err error, want apierror.Reason) {
	t.Helper()
	require.Error(t, err)
	got, _ := apierror.ReasonOf(err)
	require.Equal(t, want, got, "%v", err)
}
