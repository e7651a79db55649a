//go:build docker

package compose

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/auth"
)

// asksModels asks the sandbox's models through the front port, in each way there is:
// as the SDKs of providers do, whole and streamed, and by the platform's own API.
func (p *project) asksModels(t *testing.T) {
	t.Helper()
	for _, c := range []struct{ path, body, kind, wants string }{
		{
			"/v1/chat/completions", `{"model":"gpt-sandbox","messages":[{"role":"user","content":"[[say hello]]"}]}`,
			"application/json", `"content":"hello"`,
		},
		{
			"/v1/chat/completions", `{"model":"gpt-sandbox","stream":true,"messages":[{"role":"user","content":"[[say hello]]"}]}`,
			"text/event-stream", "data: [DONE]",
		},
		{
			"/v1/messages", `{"model":"claude-sandbox","max_tokens":16,"stream":true,"messages":[{"role":"user","content":"[[say hello]]"}]}`,
			"text/event-stream", "event: message_stop",
		},
		{
			"/v1/llm:generate", `{"prompt":{"model":"gpt-sandbox","messages":[{"role":"ROLE_USER","parts":[{"text":"[[say hello]]"}]}]}}`,
			"application/json", `"text":"hello"`,
		},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url()+c.path, strings.NewReader(c.body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", c.path, answer)
		require.True(t, strings.HasPrefix(response.Header.Get("Content-Type"), c.kind), "%s answers with %s", c.path, response.Header.Get("Content-Type"))
		require.Contains(t, strings.ReplaceAll(string(answer), `": `, `":`), c.wants, c.path)
	}
}
