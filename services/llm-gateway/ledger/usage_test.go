package ledger_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// fill makes a little history: three requests, one with a fallback.
func (b *books) fill(t *testing.T) {
	t.Helper()
	require.NoError(t, b.reserve(t, request(dollar)).Settle(t.Context(), billed(100), nil))

	cut := billed(7)
	cut.Exact = false
	h := b.reserve(t, request(dollar))
	other := attempt(dollar)
	other.Provider, other.Model = "anthropic", "claude"
	require.NoError(t, h.Next(t.Context(), failure(), other))
	require.NoError(t, h.Settle(t.Context(), cut, nil))

	r := request(3 * dollar)
	r.Tenant = "globex"
	require.NoError(t, b.reserve(t, r).Release(t.Context(), unknown()))
}

func TestUsageTellsExactFromEstimatedAndWhatIsNotDecided(t *testing.T) {
	b := newBooks(t)
	b.fill(t)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	all := ledger.Query{From: today.Add(-time.Hour), To: today.Add(25 * time.Hour)}
	used := ledger.Usage{Input: 10, CacheRead: 20, CacheWrite: 3, CacheWrite1h: 4, Output: 50, Reasoning: 6}

	check := func() {
		t.Helper()
		by := all
		by.GroupBy = []ledger.Dimension{ledger.ByTenant, ledger.ByModel}
		got, err := b.Usage(t.Context(), by)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff([]ledger.Row{
			{Tenant: "acme", Model: "claude", Attempts: 1, Estimated: ledger.Sum{Usage: used, Cost: 7}},
			{Tenant: "acme", Model: "gpt-5-mini", Requests: 2, Attempts: 2, Failed: 1, Exact: ledger.Sum{Usage: used, Cost: 100}},
			{Tenant: "globex", Model: "gpt-5-mini", Requests: 1, Attempts: 1, Unknown: 1, Reserved: 3 * dollar},
		}, withoutDay(got)))

		total := all
		total.Tenant, total.GroupBy = "acme", []ledger.Dimension{ledger.ByDay}
		got, err = b.Usage(t.Context(), total)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, today, got[0].Day)
		require.EqualValues(t, 3, got[0].Attempts)
		require.EqualValues(t, 107, got[0].Exact.Cost+got[0].Estimated.Cost)
	}
	check()

	// The same report when the attempts were added up.
	require.NoError(t, ledger.New(b.pool, ledger.WithHistory(0)).Maintain(t.Context()))
	require.Equal(t, 1, scalar[int](t, b, `SELECT count(*) FROM llm_attempts`), "what is unknown stays")
	check()
}

func withoutDay(rows []ledger.Row) []ledger.Row {
	for i := range rows {
		rows[i].Day = time.Time{}
	}
	return rows
}

func TestMaintenanceAddsUpWhatComesLaterToo(t *testing.T) {
	b := newBooks(t, ledger.WithHistory(0))
	for range 3 {
		require.NoError(t, b.reserve(t, request(dollar)).Settle(t.Context(), billed(5), nil))
		require.NoError(t, b.Maintain(t.Context()))
	}
	require.Equal(t, 1, scalar[int](t, b, `SELECT count(*) FROM llm_usage_days`))
	require.Equal(t, 15, scalar[int](t, b, `SELECT cost FROM llm_usage_days`))
}

func TestMaintenanceKeepsWhatIsYoungOrOpen(t *testing.T) {
	b := newBooks(t)
	old := day("daily", tenant, 10*dollar)
	old.Start, old.End = old.Start.AddDate(0, 0, -100), old.End.AddDate(0, 0, -100)
	open := old
	open.Name = "open"
	require.NoError(t, b.reserve(t, keyed(request(dollar, old), "a")).Settle(t.Context(), billed(5), answer("{}")))
	b.reserve(t, keyed(request(dollar, open), "b"))
	require.NoError(t, b.Maintain(t.Context()))
	require.Equal(t, 2, scalar[int](t, b, `SELECT count(*) FROM llm_keys`))
	require.Equal(t, 2, scalar[int](t, b, `SELECT count(*) FROM llm_attempts`))
	require.Equal(t, "open", scalar[string](t, b, `SELECT name FROM llm_budgets`), "the other one's period is long over")

	b.exec(t, `UPDATE llm_keys SET create_time = create_time - interval '25 hours'`)
	b.exec(t, `UPDATE llm_attempts SET create_time = create_time - interval '91 days'`)
	require.NoError(t, b.Maintain(t.Context()))
	require.Zero(t, scalar[int](t, b, `SELECT count(*) FROM llm_keys`))
	require.Equal(t, ledger.Dispatched, scalar[ledger.State](t, b, `SELECT state FROM llm_attempts`))
}
