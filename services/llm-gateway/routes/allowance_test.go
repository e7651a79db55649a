package routes_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

const allowances = two + `
budgets:
  - {name: monthly, period: month, limit_usd: "100.00"}
  - {name: daily, period: day, limit_usd: 12.5}
  - {name: monthly, tenant: acme, period: month, limit_usd: "5000"}
  - {name: trial, tenant: acme, period: total, limit_usd: "0.000000001"}
limits:
  - {requests_per_minute: 600}
  - {tenant: acme, tokens_per_minute: 1_000_000}
`

func TestATenantsOwnBudgetReplacesTheOneOfTheSameNameAndJoinsTheOthers(t *testing.T) {
	table := parse(t, allowances, keyed)
	of := func(tenant string) map[string]int64 {
		limits := map[string]int64{}
		for _, b := range table.BudgetsOf(tenant) {
			require.NotContains(t, limits, b.Name)
			limits[b.Name] = b.Limit
		}
		return limits
	}
	require.Equal(t, map[string]int64{"monthly": 5000e9, "trial": 1, "daily": 125e8}, of("acme"))
	require.Equal(t, map[string]int64{"monthly": 100e9, "daily": 125e8}, of("other"))
	require.Empty(t, parse(t, two, keyed).BudgetsOf("acme"))
}

func TestATenantsOwnLimitReplacesEverybodys(t *testing.T) {
	table := parse(t, allowances, keyed)
	acme, ok := table.LimitOf("acme")
	require.True(t, ok)
	other, ok := table.LimitOf("other")
	require.True(t, ok)
	require.Equal(t, [2]int64{0, 1_000_000}, [2]int64{acme.RequestsPerMinute, acme.TokensPerMinute})
	require.Equal(t, [2]int64{600, 0}, [2]int64{other.RequestsPerMinute, other.TokensPerMinute})
	_, ok = parse(t, two, keyed).LimitOf("acme")
	require.False(t, ok)
}

func TestPeriodsAreThoseOfUTC(t *testing.T) {
	// Half past midnight in Kiritimati is still the day before, and the month.
	at := time.Date(2026, 3, 1, 0, 30, 0, 0, time.FixedZone("LINT", 14*60*60))
	utc := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	for period, want := range map[routes.Period][2]time.Time{
		routes.Day:   {utc(2026, 2, 28), utc(2026, 3, 1)},
		routes.Month: {utc(2026, 2, 1), utc(2026, 3, 1)},
		routes.Total: {utc(1970, 1, 1), {}},
	} {
		start, end := period.Bounds(at)
		require.Equal(t, want, [2]time.Time{start, end}, period)
	}
	start, end := routes.Month.Bounds(utc(2026, 12, 31).Add(24*time.Hour - 1))
	require.Equal(t, [2]time.Time{utc(2026, 12, 1), utc(2027, 1, 1)}, [2]time.Time{start, end})
}
