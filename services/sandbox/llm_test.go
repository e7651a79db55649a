package sandbox

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const aPrompt = `{"model":"gpt-sandbox","messages":[{"role":"user","content":"hello [[tokens 50]]"}]}`

func TestWhatProvidersBilledSurvivesKill9(t *testing.T) {
	dir := t.TempDir()
	url, kill := process(t, dir)
	status, _, _, err := call(t, "POST", url+"/llm/openai/v1/chat/completions", aPrompt,
		"Authorization", "Bearer sandbox-a", "Holdfast-Request-Id", "whole.1")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	_, _, _, err = call(t, "POST", url+"/llm/openai/v1/chat/completions", aPrompt,
		"Authorization", "Bearer sandbox-a", "Holdfast-Request-Id", "lost.1", "Sandbox-Fault", "drop; when=after")
	require.Error(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/llm/openai/v1/chat/completions", strings.NewReader(strings.Replace(aPrompt, "{", `{"stream":true,`, 1)))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer sandbox-a")
	r.Header.Set("Holdfast-Request-Id", "stream.1")
	r.Header.Set("Sandbox-Fault", "stall; chunks=3; delay=1h")
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = response.Body.Read(make([]byte, 1)) // it has begun
	require.NoError(t, err)
	kill()

	url, _ = process(t, dir)
	for id, state := range map[string]string{"whole.1": "finished", "lost.1": "finished", "stream.1": "cut"} {
		status, body, _, err := call(t, "GET", url+"/llm/requests/"+id, "")
		require.NoError(t, err)
		require.Equal(t, 200, status, body)
		require.Contains(t, body, `"state":"`+state+`"`, id)
	}
}

func TestADrainEndsStreamsAndSaysThatTheyWereCut(t *testing.T) {
	cfg := testConfig(t)
	ctx, stop := context.WithCancel(t.Context())
	s, err := Start(ctx, cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	answered := make(chan error, 1)
	go func() {
		_, _, _, err := call(t, "POST", s.URL()+"/llm/openai/v1/chat/completions", strings.Replace(aPrompt, "{", `{"stream":true,`, 1),
			"Authorization", "Bearer sandbox-a", "Holdfast-Request-Id", "stream.1", "Sandbox-Fault", "stall; chunks=3; delay=1h")
		answered <- err
	}()
	require.Eventually(t, func() bool {
		_, body, _, err := call(t, "GET", s.URL()+"/llm/requests/stream.1", "")
		return err == nil && strings.Contains(body, `"output":3`)
	}, 5*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-ended, "drained within the cap")
	require.Error(t, <-answered, "what is broken off does not look complete")

	again := startServer(t, cfg)
	_, body, _, err := call(t, "GET", again.URL()+"/llm/requests/stream.1", "")
	require.NoError(t, err)
	require.Contains(t, body, `"state":"cut"`)
	require.Contains(t, body, `"output":3`, "and it is billed for what was produced")
}
