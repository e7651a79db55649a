package llm

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// long is a text of so many tokens.
func long(tokens int) string { return strings.TrimSpace(strings.Repeat("wave ", tokens)) }

func TestOpenAIReadsWhatItHasSeenAndCountsItInThePrompt(t *testing.T) {
	w := start(t)
	messages := func(last string) string {
		return `{"model":"gpt-sandbox","messages":[{"role":"system","content":"` + long(100) + `"},{"role":"user","content":"` + last + `"}]}`
	}
	ask := func(body string, headers ...string) openAIUsage {
		return *decode[openAIAnswer](t, w.call(OpenAI, paths[OpenAI], body, headers...).body).Usage
	}
	cold, warm := ask(messages("one")), ask(messages("two"))
	require.Zero(t, cold.PromptTokensDetails.CachedTokens)
	require.Equal(t, int64(104), warm.PromptTokensDetails.CachedTokens)
	require.Equal(t, cold.PromptTokens, warm.PromptTokens, "cached tokens are in it")
	same := ask(messages("two"))
	require.Equal(t, same.PromptTokens-1, same.PromptTokensDetails.CachedTokens, "something is always new")
	require.Zero(t, ask(messages("one"), "Authorization", "Bearer sandbox-b").PromptTokensDetails.CachedTokens, "another key")
	require.Zero(t, ask(strings.Replace(messages("one"), `"role":"system",`, `"role": "system",`, 1)).PromptTokensDetails.CachedTokens, "other bytes")

	row := w.rows()[1]
	require.Equal(t, Usage{Input: warm.PromptTokens - 104, CacheRead: 104, Output: warm.CompletionTokens}, row.Usage)
	m, _ := modelOf(OpenAI, "gpt-sandbox")
	require.Equal(t, m.Price.Cost(row.Usage), row.Billed)
	require.Less(t, row.Billed, w.rows()[0].Billed+m.Price.Output*100)
}

func TestAShortPromptIsNotCached(t *testing.T) {
	w := start(t)
	for range 2 {
		require.Zero(t, w.openai(OpenAI, "gpt-sandbox", long(minCached-messageTokens-1)).Usage.PromptTokensDetails.CachedTokens)
	}
	for i := range 2 {
		require.Equal(t, i == 1, w.openai(OpenAI, "gpt-sandbox", long(minCached-messageTokens)).Usage.PromptTokensDetails.CachedTokens > 0)
	}
}

func TestAnthropicCachesWhatIsMarkedAndCountsItApart(t *testing.T) {
	w := start(t)
	body := func(system, mark, first, second string) string {
		return `{"model":"claude-sandbox","max_tokens":9,"system":[{"type":"text","text":"` + system + `"` + mark + `}],
			"messages":[{"role":"user","content":[{"type":"text","text":"` + first + `"},{"type":"text","text":"` + second + `"}]}]}`
	}
	ask := func(body string) anthropicUsage {
		return *decode[anthropicAnswer](t, w.call(Anthropic, paths[Anthropic], body).body).Usage
	}
	const five, hour = `,"cache_control":{"type":"ephemeral"}`, `,"cache_control":{"type":"ephemeral","ttl":"1h"}`
	plain := ask(body(long(100), "", "a", "b"))
	require.Equal(t, int64(106), plain.InputTokens)
	require.Zero(t, plain.CacheReadInputTokens+plain.CacheCreationInputTokens, "nobody asked for it")

	written := ask(body(long(100), five, "a", "b"))
	require.Equal(t, int64(100), written.CacheCreationInputTokens)
	require.Equal(t, int64(100), written.CacheCreation.FiveMinutes)
	require.Equal(t, int64(6), written.InputTokens, "what is written is not in it")
	read := ask(body(long(100), five, "c", "d"))
	require.Equal(t, int64(100), read.CacheReadInputTokens)
	require.Zero(t, read.CacheCreationInputTokens)
	require.Equal(t, int64(6), read.InputTokens, "what is read is not in it")

	moved := ask(strings.Replace(body(long(100), "", "a", "b"), `"text":"a"`, `"text":"a"`+hour, 1))
	require.Equal(t, int64(100), moved.CacheReadInputTokens, "a mark that moves along is no part of the prompt")
	require.Equal(t, int64(5), moved.CacheCreationInputTokens)
	require.Equal(t, int64(5), moved.CacheCreation.Hour)
	require.Equal(t, int64(1), moved.InputTokens)

	rows := w.rows()
	require.Equal(t, Usage{Input: 1, CacheRead: 100, CacheWrite1h: 5, Output: moved.OutputTokens}, rows[len(rows)-1].Usage)
	marks := strings.Repeat(`{"type":"text","text":"x"`+five+`},`, 5)
	require.Equal(t, 400, w.call(Anthropic, paths[Anthropic], `{"model":"claude-sandbox","max_tokens":9,"messages":[{"role":"user","content":[`+strings.TrimSuffix(marks, ",")+`]}]}`).status)
}

func TestAMarkOnAToolIsNoPartOfThePrompt(t *testing.T) {
	w := start(t)
	ask := func(first, second string) anthropicUsage {
		tools := `"tools":[{"name":"a"` + first + `,"description":"` + long(100) + `"},{"name":"b","description":"x"` + second + `}]`
		return *w.anthropic("claude-sandbox", "hello", tools).Usage
	}
	const mark = `,"cache_control":{"type":"ephemeral"}`
	written, moved := ask(mark, ""), ask("", mark)
	require.Greater(t, written.CacheCreationInputTokens, int64(100))
	require.Equal(t, written.CacheCreationInputTokens, moved.CacheReadInputTokens)
	all := func(u anthropicUsage) int64 {
		return u.InputTokens + u.CacheCreationInputTokens + u.CacheReadInputTokens
	}
	require.Equal(t, all(written), all(moved))
}

func TestWhatIsCachedIsForgottenWhenItsTimeIsUp(t *testing.T) {
	c := newPromptCache()
	r := &request{model: "m", blocks: []block{{raw: []byte("x"), tokens: 100, keep: time.Hour}}}
	now := time.Now()
	require.Equal(t, int64(100), c.marked(Anthropic, "k", r, now).CacheWrite1h)
	require.Equal(t, int64(100), c.marked(Anthropic, "k", r, now.Add(59*time.Minute)).CacheRead, "and kept for as long again")
	require.Equal(t, int64(100), c.marked(Anthropic, "k", r, now.Add(118*time.Minute)).CacheRead)
	require.Zero(t, c.marked(Anthropic, "k", r, now.Add(178*time.Minute)).CacheRead)
}

func TestMemoryOfPromptsIsBounded(t *testing.T) {
	c, s := newPromptCache(), &sends{}
	for i := range 3 * maxGeneration {
		c.put(uint64(i), time.Now())
		s.count(OpenAI, [32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	require.LessOrEqual(t, len(c.young)+len(c.old), 2*maxGeneration)
	require.LessOrEqual(t, len(s.young)+len(s.old), 2*maxGeneration)
}
