package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

func TestAFallbackReservesOnlyWhatItAdds(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(8*dollar, own))
	first := held.ID()
	require.NoError(t, held.Next(t.Context(), failure(), attempt(9*dollar)), "the failed one gives its 8 dollars back")
	require.Equal(t, account{Reserved: 9 * dollar}, b.of(t, own))
	require.Equal(t, ledger.Failed, b.state(t, first))
	require.Equal(t, ledger.Dispatched, b.state(t, held.ID()))
	require.Equal(t, 2, held.ID().Number)

	require.NoError(t, held.Next(t.Context(), billed(2*dollar), attempt(7*dollar)))
	require.Equal(t, account{Settled: 2 * dollar, Reserved: 7 * dollar}, b.of(t, own), "a billed one is paid for")
	require.NoError(t, held.Settle(t.Context(), billed(dollar), nil))
	require.Equal(t, account{Settled: 3 * dollar}, b.of(t, own))
}

func TestAnUnknownAttemptKeepsItsReservationBesideTheNext(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(4*dollar, own))
	first := held.ID()
	require.NoError(t, held.Next(t.Context(), unknown(), attempt(5*dollar)))
	require.Equal(t, account{Reserved: 9 * dollar}, b.of(t, own))
	require.Equal(t, ledger.Unknown, b.state(t, first))
	require.NoError(t, held.Settle(t.Context(), billed(dollar), nil))
	require.Equal(t, account{Settled: dollar, Reserved: 4 * dollar}, b.of(t, own))

	b.endLeases(t)
	b.round(t, says(ledger.Found, billed(3*dollar)))
	require.Equal(t, account{Settled: 4 * dollar}, b.of(t, own))
}

func TestANextThatDoesNotFitChangesNothing(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	b.reserve(t, request(5*dollar, own))
	held := b.reserve(t, request(4*dollar, own))
	before := held.ID()
	var over *ledger.OverBudget
	require.ErrorAs(t, held.Next(t.Context(), failure(), attempt(6*dollar)), &over)
	require.Equal(t, 5*dollar, over.Left, "with what the failed one gives back")
	require.Equal(t, before, held.ID())
	require.Equal(t, ledger.Dispatched, b.state(t, before))
	require.NoError(t, held.Next(t.Context(), failure(), attempt(over.Left)))
	require.Equal(t, account{Reserved: 10 * dollar}, b.of(t, own))

	require.ErrorAs(t, held.Next(t.Context(), unknown(), attempt(1)), &over)
	require.Zero(t, over.Left)
	require.NoError(t, held.Release(t.Context(), unknown()))
	require.Equal(t, account{Reserved: 10 * dollar}, b.of(t, own))
	require.Equal(t, ledger.Unknown, b.state(t, held.ID()))
}

func TestACheaperNextFitsEvenInABudgetThatIsOverrun(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(4*dollar, own))
	require.NoError(t, b.reserve(t, request(5*dollar, own)).Settle(t.Context(), billed(9*dollar), nil))
	require.NoError(t, held.Next(t.Context(), failure(), attempt(3*dollar)))
	var over *ledger.OverBudget
	require.ErrorAs(t, held.Next(t.Context(), failure(), attempt(4*dollar)), &over)
}

func TestANextKeepsToTheLimitOfNewerRequests(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(4*dollar, own))
	own.Limit = 6 * dollar
	b.reserve(t, request(0, own))
	var over *ledger.OverBudget
	require.ErrorAs(t, held.Next(t.Context(), failure(), attempt(7*dollar)), &over)
	require.Equal(t, 6*dollar, over.Left)
}

func TestMoreThanTheWorstCaseIsRecordedAndFlagged(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 10*dollar)
	held := b.reserve(t, request(8*dollar, own))
	require.NoError(t, held.Next(t.Context(), billed(9*dollar), attempt(dollar)))
	require.NoError(t, held.Settle(t.Context(), billed(4*dollar), nil))
	balances, err := b.Balance(t.Context(), tenant)
	require.NoError(t, err)
	require.Equal(t, 13*dollar, balances[0].Settled, "the budget shows the truth")
	require.Equal(t, 4*dollar, balances[0].Overrun)
	require.Equal(t, -3*dollar, balances[0].Left())
	report, err := b.Usage(t.Context(), ledger.Query{From: own.Start, To: own.End})
	require.NoError(t, err)
	require.EqualValues(t, 2, report[0].Overruns)
	var over *ledger.OverBudget
	require.ErrorAs(t, b.refuse(t, request(0, own)), &over)
	require.Zero(t, over.Left)
}
