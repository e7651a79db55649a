package wire

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

const openAIAnswer = `{"id":"chatcmpl-B9f1","object":"chat.completion","created":1790000000,"model":"gpt-5.2-2026-03-01",
"choices":[{"index":0,"message":{"role":"assistant","content":"{\"usage\":{\"prompt_tokens\":1}}","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"length"}],
"usage":{"prompt_tokens":1200,"completion_tokens":41,"total_tokens":1241,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":30}},"service_tier":"default"}`

const anthropicAnswer = `{"model":"claude-opus-4-5-20251101","id":"msg_01Tide","type":"message","role":"assistant","content":[{"type":"text","text":"The tide is ebbing."}],
"stop_reason":"end_turn","stop_sequence":null,
"usage":{"input_tokens":25,"cache_creation_input_tokens":300,"cache_read_input_tokens":2048,"cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":100},"output_tokens":89,"service_tier":"standard"}}`

func TestAnAnswerIsRead(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Protocol
		body string
		want Answer
	}{
		{"openai", OpenAI, openAIAnswer, Answer{
			ID: "chatcmpl-B9f1", Model: "gpt-5.2-2026-03-01", Finish: "length", HasUsage: true,
			Usage: Usage{Input: 176, CacheRead: 1024, Output: 41, Reasoning: 30},
		}},
		{"anthropic", Anthropic, anthropicAnswer, Answer{
			ID: "msg_01Tide", Model: "claude-opus-4-5-20251101", Finish: "end_turn", HasUsage: true,
			Usage: Usage{Input: 25, CacheRead: 2048, CacheWrite: 200, CacheWrite1h: 100, Output: 89},
		}},
		{"no usage", OpenAI, `{"id":"x","choices":[{"finish_reason":null},{"finish_reason":"stop"}]}`, Answer{ID: "x", Finish: "stop"}},
		{"a null usage", OpenAI, `{"usage":null,"error":null}`, Answer{}},
		{"null details", OpenAI, `{"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":null,"completion_tokens_details":null}}`, Answer{HasUsage: true, Usage: Usage{Input: 5, Output: 2}}},
		{"half a usage", OpenAI, `{"usage":{"prompt_tokens":5}}`, Answer{Usage: Usage{Input: 5}}},
		{"a usage that is no count", OpenAI, `{"usage":{"prompt_tokens":-5,"completion_tokens":1.5}}`, Answer{}},
		{"more cached than read", OpenAI, `{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}}`, Answer{HasUsage: true, Usage: Usage{CacheRead: 9, Output: 1}}},
		{"written to a cache, openai", OpenAI, `{"usage":{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":60}}}`, Answer{HasUsage: true, Usage: Usage{Input: 10, CacheRead: 30, CacheWrite: 60, Output: 1}}},
		{"no lifetimes of the cache", Anthropic, `{"usage":{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":7}}`, Answer{HasUsage: true, Usage: Usage{Input: 1, CacheWrite: 7, Output: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := ReadAnswer(c.p, []byte(c.body))
			require.NoError(t, err)
			require.Equal(t, c.want, a)
		})
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for _, body := range []string{``, `<html>`, `[]`, `{"id":"x"`, openAIAnswer + "x"} {
		_, err := ReadAnswer(OpenAI, []byte(body))
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, body)
	}
	_, err := ReadAnswer(OpenAI, []byte(`{"error":{"message":"no capacity","type":"service_unavailable","code":null}}`))
	var failed *ProviderError
	require.ErrorAs(t, err, &failed, "an error with status 200")
	require.Equal(t, 503, failed.Status)
	require.EqualError(t, err, "provider answered 503 service_unavailable: no capacity")
}

func FuzzReadAnswer(f *testing.F) {
	for _, body := range []string{
		openAIAnswer, anthropicAnswer, `{"usage":null}`, `{"error":"x"}`, `{"choices":[{}]}`,
		`{"usage":{"prompt_tokens":999999999999999999999,"completion_tokens":1e9}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for p := OpenAI; p <= Anthropic; p++ {
			a, err := ReadAnswer(p, body)
			if err == nil {
				require.True(t, json.Valid(body))
			}
			u := a.Usage
			for _, n := range []int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning} {
				require.GreaterOrEqual(t, n, int64(0))
				require.LessOrEqual(t, n, int64(maxInteger))
			}
			require.LessOrEqual(t, u.Reasoning, u.Output)
			require.NotPanics(t, func() { _ = ReadError(p, 500, nil, body).Error() })
		}
	})
}
