package ledger_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

func concurrently(n int, do func() bool) (succeeded int) {
	var (
		working sync.WaitGroup
		yes     atomic.Int64
	)
	for range n {
		working.Go(func() {
			if do() {
				yes.Add(1)
			}
		})
	}
	working.Wait()
	return int(yes.Load())
}

func TestACrashLeavesAnUnknownWhoseReservationStaysUntilTheProviderSays(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(4*dollar, own))
	b.round(t, says(ledger.Found, billed(1)))
	require.Equal(t, ledger.Dispatched, b.state(t, held.ID()), "its lease is not over")

	b.endLeases(t)
	b.round(t, says(ledger.NotYet, ledger.Outcome{}))
	require.Equal(t, ledger.Unknown, b.state(t, held.ID()))
	require.Equal(t, account{Reserved: 4 * dollar}, b.of(t, own))
	sum, err := b.Unknown(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, sum.Count)
	require.Equal(t, 4*dollar, sum.Reserved)

	b.endLeases(t)
	b.round(t, says(ledger.Found, billed(3*dollar)))
	require.Equal(t, ledger.Settled, b.state(t, held.ID()))
	require.Equal(t, account{Settled: 3 * dollar}, b.of(t, own))
}

func TestWhatNeverHappenedIsGivenBack(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(4*dollar, own))
	b.endLeases(t)
	b.round(t, says(ledger.NeverHappened, ledger.Outcome{}), ledger.WithHorizon(time.Hour))
	require.Equal(t, ledger.Unknown, b.state(t, held.ID()), "it may still be on its way to the provider")
	b.endLeases(t)
	b.round(t, says(ledger.NeverHappened, ledger.Outcome{}))
	require.Equal(t, ledger.Failed, b.state(t, held.ID()))
	require.Equal(t, account{}, b.of(t, own))
}

func TestASlowOwnerChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		late func(ctx context.Context, h *ledger.Held) error
	}{
		{"settling", func(ctx context.Context, h *ledger.Held) error { return h.Settle(ctx, billed(2*dollar), answer("{}")) }},
		{"releasing", func(ctx context.Context, h *ledger.Held) error { return h.Release(ctx, failure()) }},
		{"calling it unknown", func(ctx context.Context, h *ledger.Held) error { return h.Release(ctx, unknown()) }},
		{"going on", func(ctx context.Context, h *ledger.Held) error { return h.Next(ctx, failure(), attempt(1)) }},
		{"renewing", func(ctx context.Context, h *ledger.Held) error { return h.Renew(ctx) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBooks(t)
			own := day("daily", tenant, 10*dollar)
			held := b.reserve(t, keyed(request(4*dollar, own), "k"))
			b.endLeases(t)
			b.round(t, says(ledger.NotYet, ledger.Outcome{}))
			require.ErrorIs(t, c.late(t.Context(), held), ledger.ErrFenced)
			require.Equal(t, account{Reserved: 4 * dollar}, b.of(t, own))
			b.endLeases(t)
			b.round(t, says(ledger.Found, billed(3*dollar)))
			require.ErrorIs(t, c.late(t.Context(), held), ledger.ErrFenced)
			require.Equal(t, account{Settled: 3 * dollar}, b.of(t, own))
			require.Equal(t, 1, scalar[int](t, b, `SELECT count(*) FROM llm_attempts`))
		})
	}
}

func TestARenewedLeaseKeepsTheReconcilerAway(t *testing.T) {
	b := newBooks(t)
	held := b.reserve(t, request(dollar))
	b.endLeases(t)
	until := held.Until()
	require.NoError(t, held.Renew(t.Context()))
	require.True(t, held.Until().After(until))
	b.round(t, says(ledger.NeverHappened, ledger.Outcome{}))
	require.NoError(t, held.Settle(t.Context(), billed(1), nil))
}

func TestAProviderThatCannotBeAskedIsLeftToAPerson(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(4*dollar, own))
	require.ErrorIs(t, b.Resolve(t.Context(), held.ID(), billed(1)), ledger.ErrDecided, "it has an owner")
	b.endLeases(t)
	b.round(t, says(ledger.NobodyKnows, ledger.Outcome{}))
	asked := 0
	b.round(t, func(context.Context, ledger.Open) (ledger.Finding, error) { asked++; return ledger.Finding{}, nil })
	require.Zero(t, asked)
	open, err := b.Unknowns(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.Equal(t, held.ID(), open[0].ID)
	require.Equal(t, attempt(4*dollar), open[0].Attempt)

	require.NoError(t, b.Resolve(t.Context(), held.ID(), billed(dollar)))
	require.Equal(t, account{Settled: dollar}, b.of(t, own))
	require.ErrorIs(t, b.Resolve(t.Context(), held.ID(), billed(dollar)), ledger.ErrDecided)
}

func TestWhatIsNotKnownYetIsAskedAboutLessAndLessOften(t *testing.T) {
	b := newBooks(t)
	b.reserve(t, request(dollar))
	var before float64
	for lookup := range 4 {
		b.endLeases(t)
		b.round(t, func(context.Context, ledger.Open) (ledger.Finding, error) {
			return ledger.Finding{}, errors.New("503 from the provider's books")
		}, ledger.WithBackoff(time.Minute, 7*time.Minute))
		pause := scalar[float64](t, b, `SELECT extract(epoch FROM lease_until - now())::float8 FROM llm_attempts`)
		require.Greater(t, pause, before, "after lookup %d", lookup)
		before = pause * 1.01
	}
	require.InDelta(t, 6.3*60, before, 1.0*60, "no longer than the longest")
	open, err := b.Unknowns(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, 4, open[0].Lookups)
	require.Equal(t, "503 from the provider's books", open[0].Error)
}

func TestReplicasShareTheWork(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 100*dollar)
	for range 30 {
		b.reserve(t, request(dollar, own))
	}
	b.endLeases(t)
	var asked sync.Map
	var twice atomic.Int64
	lookup := func(_ context.Context, a ledger.Open) (ledger.Finding, error) {
		if _, again := asked.LoadOrStore(a.ID, true); again {
			twice.Add(1)
		}
		return ledger.Finding{Verdict: ledger.Found, Outcome: billed(1)}, nil
	}
	concurrently(3, func() bool {
		_, err := ledger.NewReconciler(b.Ledger, lookup).Round(t.Context())
		return assert.NoError(t, err)
	})
	require.Zero(t, twice.Load())
	require.Equal(t, account{Settled: 30}, b.of(t, own))
}

func TestARowThatAnotherHasInHandIsSkipped(t *testing.T) {
	b := newBooks(t)
	theirs, ours := b.reserve(t, request(dollar)), b.reserve(t, request(dollar))
	b.endLeases(t)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM llm_attempts WHERE request = $1 FOR UPDATE`, theirs.ID().Request)
	require.NoError(t, err)
	b.round(t, says(ledger.Found, billed(1))) // and does not wait
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, ledger.Settled, b.state(t, ours.ID()))
	require.Equal(t, ledger.Dispatched, b.state(t, theirs.ID()))
}

func TestTheReconcilerStopsWhenItIsAsked(t *testing.T) {
	b := newBooks(t)
	held := b.reserve(t, request(dollar))
	b.endLeases(t)
	ctx, stop := context.WithCancel(t.Context())
	asking, done := make(chan struct{}), make(chan error)
	r := ledger.NewReconciler(b.Ledger, func(ctx context.Context, _ ledger.Open) (ledger.Finding, error) {
		close(asking)
		<-ctx.Done()
		return ledger.Finding{}, ctx.Err()
	}, ledger.WithBackoff(time.Millisecond, time.Millisecond))
	go func() { done <- r.Run(ctx) }()
	<-asking
	stop()
	require.NoError(t, <-done)
	require.Equal(t, ledger.Unknown, b.state(t, held.ID()))
	require.Eventually(t, func() bool {
		return scalar[bool](t, b, `SELECT lease_until <= now() FROM llm_attempts`)
	}, 10*time.Second, 5*time.Millisecond, "what it had claimed is free for another")
}
