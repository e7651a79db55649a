package builtin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/builtin"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

func environment(pairs ...string) func(string) string {
	variables := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return variables[name] }
}

func table(t *testing.T, pairs ...string) *routes.Table {
	t.Helper()
	source, err := builtin.Routes(environment(pairs...))
	require.NoError(t, err)
	return source.Current()
}

func models(table *routes.Table) (names []string) {
	for _, m := range table.Models("acme") {
		names = append(names, m.Name)
	}
	return names
}

const sandbox = "http://sandbox:8080"

func TestWithoutAnyKeyTheSandboxAnswers(t *testing.T) {
	table := table(t, "HOLDFAST_SANDBOX_URL", sandbox)
	require.Equal(t, []string{"claude-sandbox", "gpt-sandbox", "sandbox-large", "sandbox-reasoning", "sandbox-small"}, models(table))
	for model, chain := range map[string][]string{
		"gpt-sandbox":    {"sandbox-openai gpt-sandbox", "sandbox-compatible sandbox-large"},
		"claude-sandbox": {"sandbox-anthropic claude-sandbox", "sandbox-anthropic sandbox-large"},
		"sandbox-small":  {"sandbox-openai sandbox-small", "sandbox-compatible sandbox-small"},
	} {
		route, ok := table.Route("acme", model)
		require.True(t, ok, model)
		var got []string
		for _, link := range route.Chain {
			got = append(got, link.Provider.Name+" "+link.Model)
			require.Equal(t, "sandbox-one", link.Keys[0].Secret.Reveal())
			require.Equal(t, sandbox+"/llm/requests/{id}", link.Provider.Lookup)
		}
		require.Equal(t, chain, got, model)
	}
	require.Equal(t, sandbox+"/llm/openai/v1", table.Providers["sandbox-openai"].BaseURL)
	require.Equal(t, sandbox+"/llm/anthropic", table.Providers["sandbox-anthropic"].BaseURL)
	require.Equal(t, sandbox+"/llm/compatible/v1", table.Providers["sandbox-compatible"].BaseURL)
	require.Equal(t, "max_tokens", table.Providers["sandbox-compatible"].MaxTokensField)
}

func TestAKeyBringsItsProvidersModelsAndLeavesTheSandboxs(t *testing.T) {
	openAI := table(t, "HOLDFAST_SANDBOX_URL", sandbox, "OPENAI_API_KEY", "sk-x")
	require.Contains(t, models(openAI), "gpt-6.2-sol")
	require.Contains(t, models(openAI), "gpt-sandbox")
	require.NotContains(t, models(openAI), "claude-opus-5-5")

	anthropic := table(t, "ANTHROPIC_API_KEY", "sk-ant-x")
	require.Contains(t, models(anthropic), "claude-opus-5-5")
	require.NotContains(t, models(anthropic), "gpt-sandbox", "where there is no sandbox")
	route, _ := anthropic.Route("acme", "claude-opus-5-5")
	require.Equal(t, "claude", route.Name)
	require.Equal(t, "claude-opus-5-5", route.Chain[0].Model)
	require.Equal(t, "https://api.anthropic.com", route.Chain[0].Provider.BaseURL)
	require.Equal(t, wire.Anthropic, route.Chain[0].Provider.Protocol)
	require.Empty(t, route.Chain[0].Provider.Lookup, "there is nothing to ask")
}

func TestWithNobodyToAskNothingStarts(t *testing.T) {
	_, err := builtin.Routes(environment())
	require.ErrorContains(t, err, "no route is left")
}

func TestACheckIsAsked(t *testing.T) {
	_, err := builtin.Routes(environment("HOLDFAST_SANDBOX_URL", sandbox), func(*routes.Table) error { return errCheck })
	require.ErrorIs(t, err, errCheck)
}

var errCheck = &routes.Mistake{File: "f", Message: "no"}

// TestEveryTargetHasAPrice goes by the day on which the newest price begins.
func TestEveryTargetHasAPrice(t *testing.T) {
	table := table(t, "HOLDFAST_SANDBOX_URL", sandbox, "OPENAI_API_KEY", "x", "ANTHROPIC_API_KEY", "y")
	at := time.Date(2026, 11, 17, 0, 0, 0, 0, time.UTC)
	require.NoError(t, table.Unpriced(func(provider, model string) bool {
		_, ok := builtin.Prices().Current().Lookup(provider, model, at)
		return ok
	}))
}

func TestEachTenantHasABudgetAndALimit(t *testing.T) {
	table := table(t, "HOLDFAST_SANDBOX_URL", sandbox)
	budgets := table.BudgetsOf("acme")
	require.Len(t, budgets, 1)
	require.Equal(t, routes.Month, budgets[0].Period)
	require.EqualValues(t, 100e9, budgets[0].Limit)
	limit, ok := table.LimitOf("acme")
	require.True(t, ok)
	require.Positive(t, limit.RequestsPerMinute)
}

func TestAPriceChangesOnItsDay(t *testing.T) {
	prices := builtin.Prices().Current()
	day := time.Date(2026, 10, 7, 0, 0, 0, 0, time.UTC)
	before, ok := prices.Lookup("anthropic", "claude-sonnet-5-5", day.Add(-time.Second))
	require.True(t, ok)
	after, ok := prices.Lookup("anthropic", "claude-sonnet-5-5", day)
	require.True(t, ok)
	require.EqualValues(t, 200_000_000, before.CacheRead)
	require.EqualValues(t, 100_000_000, after.CacheRead)
}

func TestALongPromptOfHaikuCostsFiveTimesAsMuch(t *testing.T) {
	p, ok := builtin.Prices().Current().Lookup("anthropic", "claude-haiku-5-5", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	require.True(t, ok)
	require.EqualValues(t, 10_000_000, p.Cost(wire.Usage{Input: 100_000}))
	require.EqualValues(t, 50_000_500, p.Cost(wire.Usage{Input: 100_001}))
}
