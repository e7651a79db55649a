package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

func TestTheWorstCaseIsReservedInEveryBudgetBeforeTheRequestLeaves(t *testing.T) {
	b := newBooks(t)
	own, all := day("daily", tenant, 10*dollar), day("overall", "", 100*dollar)
	held := b.reserve(t, request(3*dollar, own, all))
	require.Equal(t, account{Reserved: 3 * dollar}, b.of(t, own))
	require.Equal(t, account{Reserved: 3 * dollar}, b.of(t, all))
	require.Equal(t, ledger.Dispatched, b.state(t, held.ID()))

	b.reserve(t, request(4*dollar, own, all))
	require.Equal(t, account{Reserved: 7 * dollar}, b.of(t, own))
}

func TestSettlingGivesTheRestBack(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(3*dollar, own))
	require.NoError(t, held.Settle(t.Context(), billed(dollar), nil))
	require.Equal(t, account{Settled: dollar}, b.of(t, own))
	require.NoError(t, held.Settle(t.Context(), billed(dollar), nil), "doing it again is harmless")
	require.Equal(t, account{Settled: dollar}, b.of(t, own))

	require.NoError(t, b.reserve(t, request(9*dollar, own)).Release(t.Context(), failure()))
	require.Equal(t, account{Settled: dollar}, b.of(t, own))
}

func TestARefusalNamesTheBudgetAndWhatIsLeftAndWhenThereIsMore(t *testing.T) {
	b := newBooks(t)
	own, all := day("daily", tenant, 10*dollar), day("overall", "", 7*dollar)
	b.reserve(t, request(6*dollar, own, all))
	var over *ledger.OverBudget
	require.ErrorAs(t, b.refuse(t, request(5*dollar, own, all)), &over)
	require.Equal(t, &ledger.OverBudget{Budget: "overall", Limit: 7 * dollar, Left: dollar, ResetsAt: all.End}, over)
	require.Equal(t, account{Reserved: 6 * dollar}, b.of(t, own), "a refusal reserves nothing anywhere")

	b.reserve(t, request(over.Left, own, all))
	require.Equal(t, account{Reserved: 7 * dollar}, b.of(t, all), "what is left fits to the last nano-dollar")

	require.ErrorAs(t, b.refuse(t, request(1, own, all)), &over)
	require.Zero(t, over.Left)
}

func TestANewPeriodHasABudgetOfItsOwn(t *testing.T) {
	b := newBooks(t)
	today := day("daily", tenant, dollar)
	tomorrow := today
	tomorrow.Start, tomorrow.End = today.End, today.End.Add(24*time.Hour)
	b.reserve(t, request(dollar, today))
	require.Error(t, b.refuse(t, request(1, today)))
	b.reserve(t, request(dollar, tomorrow))
}

func TestABudgetThatNeverEndsNeverResets(t *testing.T) {
	b := newBooks(t)
	total := ledger.Budget{Name: "total", Period: "total", Start: time.Unix(0, 0), Limit: dollar}
	b.reserve(t, request(dollar, total))
	var over *ledger.OverBudget
	require.ErrorAs(t, b.refuse(t, request(1, total)), &over)
	require.Zero(t, over.ResetsAt)
	balances, err := b.Balance(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, balances, 1)
	require.Zero(t, balances[0].End)
}

func TestALimitThatChangesHoldsFromTheNextRequestOn(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(5*dollar, own))
	own.Limit = 4 * dollar
	var over *ledger.OverBudget
	require.ErrorAs(t, b.refuse(t, request(1, own)), &over)
	require.Zero(t, over.Left)
	require.NoError(t, held.Settle(t.Context(), billed(5*dollar), nil), "what was spent is spent")
	own.Limit = 6 * dollar
	b.reserve(t, request(dollar, own))
}

func TestTheSameRequestReservesOnce(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, dollar)
	r := keyed(request(dollar, own), "k")
	b.reserve(t, r)
	held := b.reserve(t, r)
	require.Equal(t, account{Reserved: dollar}, b.of(t, own))
	require.NoError(t, held.Settle(t.Context(), billed(1), nil))
	require.ErrorIs(t, b.refuse(t, r), ledger.ErrFenced, "it is over")
}

// TestEachStepIsOneRoundTrip counts what a proxy sees.
func TestEachStepIsOneRoundTrip(t *testing.T) {
	b := newBooks(t)
	proxy, through := pgproxy.New(t, b.url)
	far := &books{Ledger: ledger.New(connect(t, through, 1)), url: through}
	own, all := day("daily", tenant, 1000*dollar), day("overall", "", 1000*dollar)
	for _, prepared := range []bool{false, true} {
		step := func(what string, do func()) {
			proxy.Trips()
			do()
			if trips := proxy.Trips(); prepared {
				require.Len(t, trips, 1, what)
			}
		}
		var held *ledger.Held
		r := request(dollar, own, all)
		step("reserving", func() { held = far.reserve(t, r) })
		step("next", func() { require.NoError(t, held.Next(t.Context(), failure(), attempt(dollar))) })
		step("renewing", func() { require.NoError(t, held.Renew(t.Context())) })
		step("settling", func() { require.NoError(t, held.Settle(t.Context(), billed(1), nil)) })
		step("refusing", func() { require.Error(t, far.refuse(t, request(1001*dollar, own, all))) })

		r = keyed(again(r), fmt.Sprint("a key, prepared: ", prepared))
		step("reserving with a key", func() { held = far.reserve(t, r) })
		step("leaving it unknown", func() { require.NoError(t, held.Next(t.Context(), unknown(), attempt(dollar))) })
		step("settling with an answer", func() { require.NoError(t, held.Settle(t.Context(), billed(1), answer("{}"))) })
		step("replaying", func() {
			_, replay, err := far.Reserve(t.Context(), again(r))
			require.NoError(t, err)
			require.NotNil(t, replay)
		})
	}
}

func connect(t testing.TB, url string, conns int32) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	cfg.MaxConns = conns
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}
