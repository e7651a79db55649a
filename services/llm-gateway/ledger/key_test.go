package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

func TestTheSameKeyGetsTheFinishedAnswerAgain(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, dollar)
	r := keyed(request(dollar, own), "k")
	held := b.reserve(t, r)
	stored := ledger.Stored{Status: 200, ContentType: "text/event-stream", Stream: true, Body: []byte("data: {}\n\n")}
	require.NoError(t, held.Settle(t.Context(), billed(dollar), &stored))

	got, replay, err := b.Reserve(t.Context(), again(r))
	require.NoError(t, err, "although the budget is spent")
	require.Nil(t, got)
	require.Equal(t, &ledger.Replay{Stored: stored, Request: r.ID}, replay)
	require.Equal(t, account{Settled: dollar}, b.of(t, own))
}

func TestAnEmptyAnswerIsAnAnswer(t *testing.T) {
	b := newBooks(t)
	r := keyed(request(dollar), "k")
	require.NoError(t, b.reserve(t, r).Settle(t.Context(), billed(1), &ledger.Stored{Status: 204}))
	_, replay, err := b.Reserve(t.Context(), again(r))
	require.NoError(t, err)
	require.Equal(t, 204, replay.Status)
}

func TestAKeyBelongsToOneTenantAndOneRequest(t *testing.T) {
	b := newBooks(t)
	r := keyed(request(dollar), "k")
	held := b.reserve(t, r)
	other := again(r)
	other.Fingerprint = []byte("of another body")
	require.ErrorIs(t, b.refuse(t, other), ledger.ErrKeyReused)
	require.NoError(t, held.Release(t.Context(), failure()))
	require.ErrorIs(t, b.refuse(t, other), ledger.ErrKeyReused, "not even when it came to nothing")

	elsewhere := other
	elsewhere.Tenant = "globex"
	b.reserve(t, elsewhere)
}

func TestADuplicateOfARequestUnderWayIsTold(t *testing.T) {
	b := newBooks(t)
	r := keyed(request(dollar), "k")
	held := b.reserve(t, r)
	err := b.refuse(t, again(r))
	require.ErrorIs(t, err, ledger.ErrInFlight)
	var flight *ledger.InFlight
	require.ErrorAs(t, err, &flight)
	require.Equal(t, time.Second, flight.RetryAfter)

	require.NoError(t, held.Settle(t.Context(), unknown(), nil))
	require.ErrorAs(t, b.refuse(t, again(r)), &flight, "nobody knows yet whether it was billed")
	require.InDelta(t, 10, flight.RetryAfter.Seconds(), 5, "until it is asked about")
}

// TestWhatAKeySaysAfterward is the table of how requests end.
func TestWhatAKeySaysAfterward(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, b *books, h *ledger.Held)
		want error // nil: free
	}{
		{"settled without an answer", func(t *testing.T, _ *books, h *ledger.Held) {
			require.NoError(t, h.Settle(t.Context(), billed(1), nil))
		}, ledger.ErrInterrupted},
		{"released", func(t *testing.T, _ *books, h *ledger.Held) {
			require.NoError(t, h.Release(t.Context(), failure()))
		}, nil},
		{"released after an attempt that was billed", func(t *testing.T, _ *books, h *ledger.Held) {
			require.NoError(t, h.Next(t.Context(), billed(1), attempt(1)))
			require.NoError(t, h.Release(t.Context(), failure()))
		}, ledger.ErrInterrupted},
		{"released after an attempt that is unknown", func(t *testing.T, _ *books, h *ledger.Held) {
			require.NoError(t, h.Next(t.Context(), unknown(), attempt(1)))
			require.NoError(t, h.Release(t.Context(), failure()))
		}, ledger.ErrInFlight},
		{"released after an attempt that never happened", func(t *testing.T, b *books, h *ledger.Held) {
			require.NoError(t, h.Next(t.Context(), unknown(), attempt(1)))
			require.NoError(t, h.Release(t.Context(), failure()))
			b.endLeases(t)
			b.round(t, says(ledger.NeverHappened, ledger.Outcome{}))
		}, nil},
		{"crashed, and billed", func(t *testing.T, b *books, _ *ledger.Held) {
			b.endLeases(t)
			b.round(t, says(ledger.Found, billed(1)))
		}, ledger.ErrInterrupted},
		{"crashed, and never arrived", func(t *testing.T, b *books, _ *ledger.Held) {
			b.endLeases(t)
			b.round(t, says(ledger.NeverHappened, ledger.Outcome{}))
		}, nil},
		{"crashed, and not known yet", func(t *testing.T, b *books, _ *ledger.Held) {
			b.endLeases(t)
			b.round(t, says(ledger.NotYet, ledger.Outcome{}))
		}, ledger.ErrInFlight},
		{"crashed, not known yet, and about to be asked about again", func(t *testing.T, b *books, _ *ledger.Held) {
			b.endLeases(t)
			b.round(t, says(ledger.NotYet, ledger.Outcome{}))
			b.endLeases(t)
		}, ledger.ErrInFlight},
		{"crashed, and nobody to ask", func(t *testing.T, b *books, _ *ledger.Held) {
			b.endLeases(t)
			b.round(t, says(ledger.NobodyKnows, ledger.Outcome{}))
		}, ledger.ErrInterrupted},
		{"crashed, nobody to ask, and resolved as never billed", func(t *testing.T, b *books, h *ledger.Held) {
			b.endLeases(t)
			b.round(t, says(ledger.NobodyKnows, ledger.Outcome{}))
			require.NoError(t, b.Resolve(t.Context(), h.ID(), failure()))
		}, nil},
		{"an answer too large to keep", func(t *testing.T, _ *books, h *ledger.Held) {
			require.NoError(t, h.Settle(t.Context(), billed(1), answer(strings.Repeat("x", 101))))
		}, ledger.ErrInterrupted},
		{"past its retention", func(t *testing.T, b *books, h *ledger.Held) {
			require.NoError(t, h.Settle(t.Context(), billed(1), answer("{}")))
			b.exec(t, `UPDATE llm_keys SET create_time = create_time - interval '25 hours'`)
		}, nil},
		{"past its retention and under way", func(t *testing.T, b *books, _ *ledger.Held) {
			b.exec(t, `UPDATE llm_keys SET create_time = create_time - interval '25 hours'`)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBooks(t, ledger.WithMaxAnswer(100))
			r := keyed(request(dollar), "k")
			c.end(t, b, b.reserve(t, r))
			if c.want != nil {
				require.ErrorIs(t, b.refuse(t, again(r)), c.want)
				return
			}
			held := b.reserve(t, again(r))
			require.NoError(t, held.Settle(t.Context(), billed(1), answer("{}")))
			_, replay, err := b.Reserve(t.Context(), again(r))
			require.NoError(t, err)
			require.Equal(t, held.ID().Request, replay.Request)
		})
	}
}

func TestAnAnswerAfterAnUnknownAttemptIsTheAnswer(t *testing.T) {
	b := newBooks(t)
	r := keyed(request(dollar), "k")
	held := b.reserve(t, r)
	require.NoError(t, held.Next(t.Context(), unknown(), attempt(1)))
	require.NoError(t, held.Settle(t.Context(), billed(1), answer("{}")))
	replayed := func() {
		_, replay, err := b.Reserve(t.Context(), again(r))
		require.NoError(t, err)
		require.NotNil(t, replay)
	}
	replayed()
	b.endLeases(t)
	b.round(t, says(ledger.Found, billed(1)))
	replayed()
}

func TestOneOfManyWithAKeyRuns(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 100*dollar)
	r := keyed(request(dollar, own), "k")
	held := concurrently(16, func() bool {
		h, _, err := b.Reserve(t.Context(), again(r))
		if err != nil {
			require.ErrorIs(t, err, ledger.ErrInFlight)
		}
		return h != nil
	})
	require.Equal(t, 1, held)
	require.Equal(t, account{Reserved: dollar}, b.of(t, own))
}
