package llm

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// TestErrorsAreSaidInTheProtocolOfTheRequest and tell SDKs whether to send again.
func TestErrorsAreSaidInTheProtocolOfTheRequest(t *testing.T) {
	p := start(t, providers+`
routes:
  - {name: small, attempts: 1, models: [sandbox-small], chain: [{provider: openai}]}
  - {name: large, attempts: 1, models: [sandbox-large], chain: [{provider: anthropic}]}
  - {name: other, attempts: 1, models: [sandbox-reasoning], chain: [{provider: compatible}]}
budgets:
  - {name: monthly, period: month, limit_usd: "10"}
limits:
  - {tenant: globex, requests_per_minute: 1}
`)
	for _, row := range []struct {
		name, path, body string
		fault            *sandbox.Fault
		headers          []string
		status           int
		kind, code       string
		again            bool // whether to send it again
		after            bool // whether it says when
	}{
		{name: "no such model", path: openAI, body: said(openAI, "nobody", "?"), status: 404, kind: "invalid_request_error", code: "model_not_found"},
		{name: "no such model", path: anthropic, body: said(anthropic, "nobody", "?"), status: 404, kind: "not_found_error", code: "not_found"},
		{name: "no JSON", path: openAI, body: `{"model":`, status: 400, kind: "invalid_request_error", code: "malformed_request"},
		{name: "two models", path: anthropic, body: `{"model":"sandbox-large","model":"sandbox-small"}`, status: 400, kind: "invalid_request_error", code: "invalid_field"},
		{name: "no credential", path: openAI, body: said(openAI, "sandbox-small", "?"), headers: []string{"Authorization", "Bearer nobody"}, status: 401, kind: "authentication_error", code: "invalid_api_key"},
		{name: "rejected", path: openAI, body: said(openAI, "sandbox-small", "?"), fault: &sandbox.Fault{Kind: sandbox.FaultStatus, Status: 400, Code: "context_length_exceeded"}, status: 400, kind: "invalid_request_error", code: "context_length_exceeded"},
		{name: "rejected", path: anthropic, body: said(anthropic, "sandbox-large", "?"), fault: &sandbox.Fault{Kind: sandbox.FaultStatus, Status: 400}, status: 400, kind: "invalid_request_error", code: "provider_rejected"},
		{name: "overloaded", path: openAI, body: said(openAI, "sandbox-small", "?"), fault: &sandbox.Fault{Kind: sandbox.FaultStatus, Status: 503}, status: 503, kind: "server_error", code: "dependency_unavailable", again: true, after: true},
		{name: "overloaded", path: anthropic, body: said(anthropic, "sandbox-large", "?"), fault: &sandbox.Fault{Kind: sandbox.FaultStatus, Status: 529}, status: 503, kind: "overloaded_error", code: "dependency_unavailable", again: true, after: true},
		{name: "another protocol", path: anthropic, body: said(anthropic, "sandbox-reasoning", "?"), status: 501, kind: "api_error", code: "unsupported"},
		{name: "dearer", path: openAI, body: said(openAI, "sandbox-small", "?", `"service_tier":"priority"`), status: 501, kind: "server_error", code: "unsupported"},
		{name: "dearer", path: anthropic, body: said(anthropic, "sandbox-large", "?", `"tools":[{"type":"web_search_20250305","name":"web_search"}]`), status: 501, kind: "api_error", code: "unsupported"},
		{name: "the Responses API", path: "/v1/responses", body: `{}`, status: 501, kind: "server_error", code: "unsupported"},
	} {
		t.Run(row.name+strings.ReplaceAll(row.path, "/", " "), func(t *testing.T) {
			p.script()
			if row.fault != nil {
				p.script(sandbox.Rule{Fault: *row.fault})
			}
			a := asked(t, p.gateway.HTTPURL, row.path, row.body, row.headers...)
			require.Equal(t, row.status, a.status, a.body)
			said := a.problem(t)
			require.Equal(t, row.kind, said.Error.Type, a.body)
			require.Equal(t, row.code, said.Error.Code, a.body)
			require.NotEmpty(t, said.Error.Message)
			require.Equal(t, strconv.FormatBool(row.again), a.header.Get("X-Should-Retry"))
			if row.after {
				require.NotEmpty(t, a.header.Get("Retry-After"))
			}
			require.NotContains(t, a.body, "sandbox-key", "a key of ours")
			require.NotEmpty(t, a.header.Get("Request-Id"))
		})
	}
	t.Run("one too many", func(t *testing.T) {
		p.script()
		other := []string{"Authorization", "Bearer " + otherTenant}
		require.Equal(t, http.StatusOK, p.ask(openAI, said(openAI, "sandbox-small", "?"), other...).status)
		a := p.ask(openAI, said(openAI, "sandbox-small", "?"), other...)
		require.Equal(t, http.StatusTooManyRequests, a.status)
		require.Equal(t, "rate_limited", a.problem(t).Error.Code)
		require.NotEmpty(t, a.header.Get("Retry-After"))
		require.Equal(t, "true", a.header.Get("X-Should-Retry"))
		require.Equal(t, http.StatusOK, p.ask(openAI, said(openAI, "sandbox-small", "?")).status, "another tenant's limit")
	})
}
