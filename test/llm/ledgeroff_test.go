package llm

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWithoutALedgerNothingIsBooked, and what only a ledger can keep is refused: a
// budget cannot be overdrawn because there is none.
func TestWithoutALedgerNothingIsBooked(t *testing.T) {
	p := start(t, providers+`
routes:
  - {name: small, models: [sandbox-small], chain: [{provider: openai}]}
  - {name: large, models: [sandbox-large], chain: [{provider: anthropic}]}
budgets:
  - {name: tiny, period: month, limit_usd: "0.000000001"}
`, "HOLDFAST_LLM_LEDGER", "false")
	for path, model := range map[string]string{openAI: "sandbox-small", anthropic: "sandbox-large"} {
		for _, how := range []string{asStream, `"stream":false`} {
			a := p.ask(path, said(path, model, "say something", how))
			require.Equal(t, http.StatusOK, a.status, a.body)
		}
		a := p.ask(path, said(path, model, "say it once"), "Idempotency-Key", "once")
		require.Equal(t, http.StatusNotImplemented, a.status, a.body)
		require.Equal(t, "unsupported", a.problem(t).Error.Code)
	}
	var rows int
	require.NoError(t, p.gateway.Database.Pool.QueryRow(t.Context(),
		`SELECT (SELECT count(*) FROM llm_attempts) + (SELECT count(*) FROM llm_budgets) + (SELECT count(*) FROM llm_keys)`).Scan(&rows))
	require.Zero(t, rows)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.gateway.HTTPURL+"/v1/llm/usage", http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+otherTenant)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusNotImplemented, response.StatusCode)
}
