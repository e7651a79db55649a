package observability

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// thrifty is the file of routes that is built in, with a budget of two cents.
func thrifty(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../services/llm-gateway/builtin/routes.yaml")
	require.NoError(t, err)
	const limit = `limit_usd: "100.00"`
	require.Contains(t, string(text), limit)
	file := filepath.Join(t.TempDir(), "routes.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), limit, `limit_usd: "0.02"`)), 0o600))
	return file
}

// askModels does what a day of those who ask models has.
func (p *platform) askModels(t *testing.T) {
	t.Helper()
	const answer = `{"model":"gpt-sandbox","max_tokens":16,"messages":[{"role":"user","content":"hello"}]}`
	key := idempotency.NewKey().String()
	for _, step := range []struct {
		what, path, body string
		status           int
	}{
		{"an answer", "/v1/chat/completions", answer, http.StatusOK},
		{"its replay", "/v1/chat/completions", answer, http.StatusOK},
		{
			"a stream", "/v1/messages", `{"model":"claude-sandbox","max_tokens":16,"stream":true,"messages":[{"role":"user","content":"hello"}]}`,
			http.StatusOK,
		},
		{
			"a provider that fails, and the next one", "/v1/chat/completions",
			`{"model":"gpt-sandbox","max_tokens":16,"messages":[{"role":"user","content":"hello [[fault status; status=503; provider=openai]]"}]}`,
			http.StatusOK,
		},
		{
			"nobody who answers", "/v1/messages", `{"model":"claude-sandbox","max_tokens":16,"messages":[{"role":"user","content":"hello [[fault status; status=503]]"}]}`,
			http.StatusServiceUnavailable,
		},
		{"more than is left", "/v1/messages", `{"model":"claude-sandbox","max_tokens":4000,"messages":[{"role":"user","content":"hello"}]}`, http.StatusOK},
		{
			"a prompt that costs more than is left", "/v1/messages",
			`{"model":"claude-sandbox","max_tokens":16,"messages":[{"role":"user","content":"` + strings.Repeat("hello ", 10_000) + `"}]}`,
			http.StatusTooManyRequests,
		},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.at[local.LLMGateway].HTTP+step.path, strings.NewReader(step.body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
		if step.body == answer {
			r.Header.Set("Idempotency-Key", key)
		}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err, step.what)
		said, err := io.ReadAll(response.Body)
		response.Body.Close()
		require.NoError(t, err, step.what)
		require.Equal(t, step.status, response.StatusCode, "%s: %s", step.what, said)
	}
}
