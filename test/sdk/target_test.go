package sdk

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
	"github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// target is what an SDK is pointed at: all that a client changes is the base URL
// and the key.
type target struct {
	name string
	// openAI and anthropic are base URLs as the SDKs take them.
	openAI, anthropic string
	key               string
	// absorbs says that it retries by itself: a failure that a retry heals never
	// reaches the client.
	absorbs bool
}

// targets are what the tests run against.
func targets(t *testing.T) []target {
	t.Helper()
	invoice, err := llm.OpenInvoice(filepath.Join(t.TempDir(), "llm.db"))
	require.NoError(t, err)
	handler, err := llm.NewHandler(invoice, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections() // what a test has given up may still be held
		server.Close()
		require.NoError(t, invoice.Close())
	})
	gateway := startGateway(t, server.URL)
	return []target{
		{
			name:   "sandbox",
			openAI: server.URL + llm.OpenAI.BasePath() + "/v1", anthropic: server.URL + llm.Anthropic.BasePath(), key: "sandbox-sdk",
		},
		{name: "gateway", openAI: gateway + "/v1", anthropic: gateway, absorbs: true, key: auth.DevelopmentKey},
	}
}

// startGateway starts the gateway before the providers at that address.
func startGateway(t *testing.T, providers string) (url string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	require.NoError(t, os.WriteFile(file, []byte(routes), 0o600))
	return servicetest.Start(t, llmgateway.Definition, "HOLDFAST_SANDBOX_URL", providers, "HOLDFAST_LLM_ROUTES_FILE", file).HTTPURL
}

// routes has each model of the tests with the provider that speaks its protocol.
const routes = `
providers:
  sandbox-openai:
    protocol: openai
    base_url: ${HOLDFAST_SANDBOX_URL}/llm/openai/v1
    keys: [{name: one, secret: "sandbox:one"}]
  sandbox-anthropic:
    protocol: anthropic
    base_url: ${HOLDFAST_SANDBOX_URL}/llm/anthropic
    keys: [{name: one, secret: "sandbox:one"}]
routes:
  - {name: gpt, models: [gpt-sandbox], chain: [{provider: sandbox-openai}]}
  - {name: claude, models: [claude-sandbox], chain: [{provider: sandbox-anthropic}]}
  - {name: reasoning, models: [sandbox-reasoning], chain: [{provider: sandbox-openai}, {provider: sandbox-anthropic}]}
budgets:
  - {name: monthly, period: month, limit_usd: "100"}
`

// each runs a test against every target.
func each(t *testing.T, test func(t *testing.T, to target)) {
	t.Helper()
	for _, to := range targets(t) {
		t.Run(to.name, func(t *testing.T) { test(t, to) })
	}
}

// attempts counts what an SDK sends, its own retries included.
type attempts struct{ n atomic.Int64 }

// RoundTrip sends a request and counts it.
func (a *attempts) RoundTrip(r *http.Request) (*http.Response, error) {
	a.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

func (to target) newOpenAI(more ...openaioption.RequestOption) (openai.Client, *attempts) {
	sent := &attempts{}
	return openai.NewClient(append([]openaioption.RequestOption{
		openaioption.WithBaseURL(to.openAI), openaioption.WithAPIKey(to.key),
		openaioption.WithHTTPClient(&http.Client{Transport: sent, Timeout: 30 * time.Second}),
	}, more...)...), sent
}

func (to target) newAnthropic(more ...anthropicoption.RequestOption) (anthropic.Client, *attempts) {
	sent := &attempts{}
	return anthropic.NewClient(append([]anthropicoption.RequestOption{
		anthropicoption.WithBaseURL(to.anthropic), anthropicoption.WithAPIKey(to.key),
		anthropicoption.WithHTTPClient(&http.Client{Transport: sent, Timeout: 30 * time.Second}),
	}, more...)...), sent
}

// prompt makes a prompt that no test sent before, so that faults limited to the
// first sends of a prompt meet this one.
func prompt(t *testing.T, text string) string {
	t.Helper()
	return text + " (" + t.Name() + " at " + time.Now().Format(time.RFC3339Nano) + ")"
}
