//go:build faults

package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// Negative controls. Each takes out one safeguard and shows that the promise then
// breaks: a proof that cannot fail proves nothing.

func TestControlWithoutTheReservationBudgetsAreOvershot(t *testing.T) {
	b := newBooks(t)
	var ledgers []*ledger.Ledger
	for range 2 {
		ledgers = append(ledgers, ledger.New(connect(t, b.url, 8)).Without(ledger.Reservation))
	}
	seen, _ := spend(t, b.url, ledgers, &provider{invoice: map[ledger.AttemptID]int64{}}, 60)
	require.Positive(t, seen.over, "the control does not break the promise, or the observer does not look")
}

func TestControlWithoutTheEpochASlowOwnerTakesMoneyOutOfTheBooks(t *testing.T) {
	b := newBooks(t)
	own := day("daily", tenant, 20*dollar)
	unfenced := &books{Ledger: b.Without(ledger.Epoch), pool: b.pool, url: b.url}
	b.reserve(t, request(8*dollar, own))
	slow := unfenced.reserve(t, request(4*dollar, own))
	b.exec(t, `UPDATE llm_attempts SET lease_until = now() WHERE request = $1`, slow.ID().Request)
	b.round(t, says(ledger.Found, billed(3*dollar)))
	require.NoError(t, slow.Settle(t.Context(), billed(2*dollar), nil))
	require.Equal(t, account{Settled: 5 * dollar, Reserved: 4 * dollar}, b.of(t, own), "the control does not break the promise")
}
