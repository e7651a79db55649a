package llm

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// The paths of the wire protocols, and what a request of each looks like.
const (
	openAI    = "/v1/chat/completions"
	anthropic = "/v1/messages"
)

// platform is a gateway and the providers behind it.
type platform struct {
	t         *testing.T
	providers *sandbox.Handler
	// at is where the providers answer.
	at      string
	gateway *servicetest.Running
	// env is what replicas of the gateway are told.
	env []string
	// upstream are the connections to the providers.
	upstream connections
}

// start starts a gateway with these routes, in which {sandbox} is where the providers
// answer; without any, with a route for each of the sandbox's models. Env are names
// and values by turns.
func start(t *testing.T, routes string, env ...string) *platform {
	t.Helper()
	p := &platform{t: t}
	folder := t.TempDir()
	invoice, err := sandbox.OpenInvoice(filepath.Join(folder, "invoice.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, invoice.Close()) })
	p.providers, err = sandbox.NewHandler(invoice, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(p.providers)
	server.Config.ConnState = p.upstream.see
	server.Start()
	t.Cleanup(server.Close)
	p.at = server.URL
	if routes == "" {
		routes = providers + `
routes:
  - {name: small, models: [sandbox-small], chain: [{provider: openai}, {provider: compatible}]}
  - {name: large, models: [sandbox-large], chain: [{provider: anthropic}]}
budgets:
  - {name: monthly, period: month, limit_usd: "1000"}
`
	}
	p.env = append([]string{
		"HOLDFAST_LLM_ROUTES_FILE", write(t, folder, "routes.yaml", strings.ReplaceAll(routes, "{sandbox}", p.at)),
		"HOLDFAST_LLM_PRICES_FILE", write(t, folder, "prices.yaml", prices()),
		"HOLDFAST_SANDBOX_URL", p.at,
		"HOLDFAST_LLM_RECONCILE_INTERVAL", "100ms", "HOLDFAST_LLM_FIRST_LOOK", "200ms", "HOLDFAST_LLM_HORIZON", "1s",
	}, env...)
	p.gateway = servicetest.Start(t, llmgateway.Definition, p.env...)
	return p
}

// another starts another replica on the same database.
func (p *platform) another(env ...string) *servicetest.Running {
	p.t.Helper()
	all := append(append([]string{}, p.env...), "HOLDFAST_DATABASE_URL", p.gateway.Database.URL)
	return servicetest.Start(p.t, llmgateway.Definition, append(all, env...)...)
}

// providers are the sandbox's, as a file of routes has them.
const providers = `
defaults:
  timeouts: {connect: 5s, first_token: 20s, idle: 20s, total: 60s}
providers:
  openai:
    protocol: openai
    base_url: "{sandbox}/llm/openai/v1"
    lookup_url: "{sandbox}/llm/requests/{id}"
    keys: [{name: a, secret: "env:SANDBOX_KEY", max_concurrent: 1000}, {name: b, secret: "env:SANDBOX_KEY_B", max_concurrent: 1000}]
  compatible:
    protocol: openai
    base_url: "{sandbox}/llm/compatible/v1"
    lookup_url: "{sandbox}/llm/requests/{id}"
    max_tokens_field: max_tokens
    keys: [{name: a, secret: "env:SANDBOX_KEY", max_concurrent: 1000}]
  anthropic:
    protocol: anthropic
    base_url: "{sandbox}/llm/anthropic"
    lookup_url: "{sandbox}/llm/requests/{id}"
    keys: [{name: a, secret: "env:SANDBOX_KEY", max_concurrent: 1000}, {name: b, secret: "env:SANDBOX_KEY_B", max_concurrent: 1000}]
`

// prices are those that the sandbox charges.
func prices() string {
	var b strings.Builder
	b.WriteString("prices:\n")
	dollars := func(nanos int64) string { return fmt.Sprintf("%d.%09d", nanos/1e9, nanos%1e9) }
	for _, m := range sandbox.Models {
		for _, provider := range m.Providers {
			fmt.Fprintf(&b, "  - {provider: %s, model: %s, from: 2026-01-01, input: %q, cache_read: %q, cache_write: %q, cache_write_1h: %q, output: %q, reasoning: %q}\n",
				provider, m.Name, dollars(m.Price.Input), dollars(m.Price.CacheRead), dollars(m.Price.CacheWrite), dollars(m.Price.CacheWrite1h), dollars(m.Price.Output), dollars(m.Price.Reasoning))
		}
	}
	return b.String()
}

func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// script has the providers fail.
func (p *platform) script(rules ...sandbox.Rule) {
	p.t.Helper()
	require.NoError(p.t, p.providers.SetScript(sandbox.Script{Seed: 1, Rules: rules}))
}

// said is a request in a protocol; with "stream" among the options, for a stream.
func said(path, model, prompt string, options ...string) string {
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]`, model, prompt)
	if path == anthropic {
		body += `,"max_tokens":1000`
	}
	for _, option := range options {
		body += "," + option
	}
	return body + "}"
}

const asStream = `"stream":true`

// post sends a request to a replica; its answer must be closed.
func post(t *testing.T, ctx context.Context, at, path, body string, headers ...string) (*http.Response, error) { //nolint:revive // the test comes first, as everywhere
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	if path == anthropic {
		request.Header.Set("Anthropic-Version", "2023-06-01")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return http.DefaultClient.Do(request)
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request and reads the answer.
func (p *platform) ask(path, body string, headers ...string) answer {
	p.t.Helper()
	return asked(p.t, p.gateway.HTTPURL, path, body, headers...)
}

func asked(t *testing.T, at, path, body string, headers ...string) answer {
	t.Helper()
	response, err := post(t, t.Context(), at, path, body, headers...)
	require.NoError(t, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(read)}
}

// problem is the error of an answer, in either protocol.
type problem struct {
	Error struct {
		Type, Message, Code string
		Details             struct {
			ErrorCode string `json:"error_code"`
		}
	}
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	if p.Error.Code == "" {
		p.Error.Code = p.Error.Details.ErrorCode
	}
	return p
}

// invoiced is what the providers charged in all, in nano-dollars.
func (p *platform) invoiced() (total int64) {
	p.t.Helper()
	rows, _, err := p.providers.Invoice().Rows(sandbox.Selection{})
	require.NoError(p.t, err)
	for _, row := range rows {
		total += row.Billed
	}
	return total
}

// settled waits until nothing is reserved any more, and returns what was settled in
// all budgets of all tenants.
func (p *platform) settled() (total int64) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var reserved int64
		err := p.gateway.Database.Pool.QueryRow(p.t.Context(),
			`SELECT coalesce(sum(settled), 0), coalesce(sum(reserved), 0) FROM llm_budgets`).Scan(&total, &reserved)
		require.NoError(p.t, err)
		return reserved == 0
	}, time.Minute, 50*time.Millisecond, "something is still reserved")
	return total
}

// forceBreakers keeps the providers' breakers closed, for tests of what comes before
// one opens.
func (p *platform) forceBreakers() {
	p.t.Helper()
	// They are there from the first request on.
	for path, model := range map[string]string{openAI: "sandbox-small", anthropic: "sandbox-large"} {
		require.Equal(p.t, http.StatusOK, p.ask(path, said(path, model, "be there")).status)
	}
	response, err := http.Get(p.gateway.AdminURL + "/breakers")
	require.NoError(p.t, err)
	defer response.Body.Close()
	var known []struct{ Dependency string }
	require.NoError(p.t, json.NewDecoder(response.Body).Decode(&known))
	require.NotEmpty(p.t, known)
	for _, breaker := range known {
		request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPut,
			p.gateway.AdminURL+"/breakers/"+breaker.Dependency, strings.NewReader(`{"mode":"forced_closed"}`))
		require.NoError(p.t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(p.t, err)
		response.Body.Close()
		require.Equal(p.t, http.StatusOK, response.StatusCode)
	}
}

// otherTenant is the credential of a tenant that most tests do not use.
const otherTenant = auth.DevelopmentKeyOther
