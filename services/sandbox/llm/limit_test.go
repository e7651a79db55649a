package llm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAKeyOverItsLimitIsToldWhenToComeBack(t *testing.T) {
	w := start(t)
	require.NoError(t, w.handler.SetScript(Script{Limits: []Limit{
		{Key: "sandbox-a", RequestsPerMinute: 2}, {Provider: Anthropic, Key: "sandbox-t", TokensPerMinute: 50},
	}}))
	for left := 1; left >= 0; left-- {
		a := w.ask(OpenAI, "gpt-sandbox", "x", nil)
		require.Equal(t, 200, a.status)
		require.Equal(t, []string{"1", "0"}[1-left], a.header.Get("X-Ratelimit-Remaining-Requests"))
		require.Equal(t, "2", a.header.Get("X-Ratelimit-Limit-Requests"))
	}
	a := w.ask(OpenAI, "gpt-sandbox", "x", nil)
	require.Equal(t, 429, a.status)
	require.Equal(t, "rate_limit_exceeded", *decode[openAIError](t, a.body).Error.Code)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.NotEmpty(t, a.header.Get("Retry-After-Ms"))
	require.Equal(t, 200, w.ask(OpenAI, "gpt-sandbox", "x", nil, "Authorization", "Bearer sandbox-b").status, "another key")
	require.Equal(t, 200, w.ask(Compatible, "sandbox-small", "x", nil).status, "another provider counts for itself")

	require.Equal(t, 200, w.ask(Anthropic, "claude-sandbox", long(40), nil, "X-Api-Key", "sandbox-t").status)
	a = w.ask(Anthropic, "claude-sandbox", long(40), nil, "X-Api-Key", "sandbox-t")
	require.Equal(t, 429, a.status)
	require.Equal(t, "6", a.header.Get("Anthropic-Ratelimit-Tokens-Remaining"))
	_, err := time.Parse(time.RFC3339, a.header.Get("Anthropic-Ratelimit-Tokens-Reset"))
	require.NoError(t, err)
}

func TestAWindowOfLimitsEnds(t *testing.T) {
	m, now := &meter{}, time.Now()
	limit := Limit{RequestsPerMinute: 1, TokensPerMinute: 10}
	_, within := m.take(OpenAI, "k", 1, limit, now)
	require.True(t, within)
	left, within := m.take(OpenAI, "k", 1, limit, now.Add(59*time.Second))
	require.False(t, within)
	require.Equal(t, time.Second, left.resetIn)
	_, within = m.take(OpenAI, "k", 1, limit, now.Add(time.Minute))
	require.True(t, within)
}
