package llm

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenAIAnswersInOnePieceAndInEventsTheSame(t *testing.T) {
	for _, p := range []Provider{OpenAI, Compatible} {
		w := start(t)
		whole := w.openai(p, modelFor[p], "hello")
		require.Equal(t, "chat.completion", whole.Object)
		require.Equal(t, "stop", whole.Choices[0].FinishReason)
		require.True(t, strings.HasPrefix(whole.ID, "chatcmpl-"))

		a := w.ask(p, modelFor[p], "hello", []string{`"stream":true`, `"stream_options":{"include_usage":true}`})
		require.NoError(t, a.err)
		require.Equal(t, "text/event-stream; charset=utf-8", a.header.Get("Content-Type"))
		require.Equal(t, *whole.Choices[0].Message.Content, texts(t, p, a.body))
		all := events(t, a.body)
		require.Equal(t, "[DONE]", all[len(all)-1].data)
		last := decode[openAIChunk](t, all[len(all)-2].data)
		require.Empty(t, last.Choices)
		require.Contains(t, all[len(all)-2].data, `"choices":[]`, "empty, and not null")
		usage, err := json.Marshal(last.Usage)
		require.NoError(t, err)
		require.Equal(t, whole.Usage.TotalTokens, decode[openAIUsage](t, string(usage)).TotalTokens)
		finish := decode[openAIChunk](t, all[len(all)-3].data)
		require.Equal(t, "stop", *finish.Choices[0].FinishReason)
		first := decode[openAIChunk](t, all[0].data)
		require.Equal(t, "assistant", first.Choices[0].Delta.Role)
		require.Equal(t, p == OpenAI, strings.Contains(all[0].data, `"usage":null`))
	}
}

func TestAStreamThatDoesNotAskForItsUsageHasNone(t *testing.T) {
	w := start(t)
	a := w.ask(OpenAI, "gpt-sandbox", "hello", streamed)
	require.NotContains(t, a.body, "usage")
}

func TestTheCompatibleOneHasItsQuirks(t *testing.T) {
	w := start(t)
	a := w.ask(Compatible, "sandbox-small", "hello [[tokens 5]]", []string{`"stream":true`, `"stream_options":{"include_usage":true}`})
	all := events(t, a.body)
	first := decode[openAIChunk](t, all[0].data).Choices[0].Delta
	require.Equal(t, "assistant", first.Role)
	require.NotEmpty(t, *first.Content, "it says its role with its content")
	require.NotContains(t, all[0].data, "usage", "no null usage before the last")
	require.Empty(t, a.header.Get("X-Request-Id"))
	require.Empty(t, a.header.Get("X-Ratelimit-Remaining-Requests"))

	long := w.openai(Compatible, "sandbox-small", "hello [[tokens 5]]", `"max_completion_tokens":2`)
	require.Equal(t, int64(5), long.Usage.CompletionTokens, "it does not know the new field")
	require.Equal(t, int64(2), w.openai(Compatible, "sandbox-small", "hello [[tokens 5]]", `"max_tokens":2`).Usage.CompletionTokens)
	require.Nil(t, long.Usage.PromptTokensDetails)

	thought := w.openai(Compatible, "sandbox-reasoning", "hello [[tokens 5]]")
	require.Greater(t, thought.Usage.CompletionTokens, int64(5))
	rows := w.rows()
	require.Zero(t, rows[len(rows)-1].Usage.Reasoning, "what it says nothing of is output like any other")

	wrong := w.ask(Compatible, "gpt-sandbox", "hello", nil)
	require.Equal(t, 404, wrong.status)
	require.NotContains(t, wrong.body, "code")
	require.NotContains(t, wrong.body, "param")
}

func TestOpenAIReasonsWithinTheCompletion(t *testing.T) {
	w := start(t)
	a := w.openai(OpenAI, "sandbox-reasoning", "hello [[tokens 5]]")
	require.Positive(t, a.Usage.CompletionTokensDetails.ReasoningTokens)
	require.Equal(t, a.Usage.CompletionTokensDetails.ReasoningTokens+5, a.Usage.CompletionTokens)

	short := w.openai(OpenAI, "sandbox-reasoning", "hello [[tokens 5]]", `"max_completion_tokens":3`)
	require.Equal(t, "length", short.Choices[0].FinishReason)
	require.Empty(t, *short.Choices[0].Message.Content, "all of it was thought")
	require.Equal(t, int64(3), short.Usage.CompletionTokensDetails.ReasoningTokens)

	refused := w.ask(OpenAI, "sandbox-reasoning", "hello", []string{`"max_tokens":3`})
	require.Equal(t, 400, refused.status)
	require.Equal(t, "unsupported_parameter", *decode[openAIError](t, refused.body).Error.Code)
}

func TestOpenAICallsToolsInFragments(t *testing.T) {
	tools := `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}},
		{"type":"function","function":{"name":"tide","parameters":{"type":"object"}}}]`
	w := start(t)
	require.Empty(t, w.openai(OpenAI, "gpt-sandbox", "hello", tools).Choices[0].Message.ToolCalls, "nobody asked for one")
	require.Empty(t, w.openai(OpenAI, "gpt-sandbox", "weather", tools, `"tool_choice":"none"`).Choices[0].Message.ToolCalls)
	for choice, want := range map[string]string{`"required"`: "weather", `{"type":"function","function":{"name":"tide"}}`: "tide"} {
		c := w.openai(OpenAI, "gpt-sandbox", "hello", tools, `"tool_choice":`+choice).Choices[0]
		require.Equal(t, want, c.Message.ToolCalls[0].Function.Name)
		require.Equal(t, "tool_calls", c.FinishReason)
		require.Nil(t, c.Message.Content)
	}
	whole := w.openai(OpenAI, "gpt-sandbox", `[[call weather {"city":"Bergen"}]][[call tide]]`, tools).Choices[0].Message.ToolCalls
	require.JSONEq(t, `{"city":"Bergen"}`, whole[0].Function.Arguments)
	require.Equal(t, "tide", whole[1].Function.Name)

	a := w.ask(OpenAI, "gpt-sandbox", "the weather?", []string{`"stream":true`, tools})
	var arguments, name, id string
	fragments := 0
	for _, e := range events(t, a.body) {
		if e.data == "[DONE]" {
			continue
		}
		for _, c := range decode[openAIChunk](t, e.data).Choices {
			for _, k := range c.Delta.ToolCalls {
				require.Equal(t, 0, *k.Index)
				name, id, arguments = name+k.Function.Name, id+k.ID, arguments+k.Function.Arguments
				fragments++
			}
		}
	}
	require.Equal(t, "weather", name)
	require.True(t, strings.HasPrefix(id, "call_"))
	require.Greater(t, fragments, 3)
	said := decode[map[string]any](t, arguments)
	require.IsType(t, "", said["city"])
	require.IsType(t, 0.0, said["days"])
}

func TestAfterTheResultOfAToolComesText(t *testing.T) {
	w := start(t)
	body := `{"model":"gpt-sandbox","tools":[{"type":"function","function":{"name":"weather"}}],"tool_choice":"required","messages":[{"role":"user","content":"weather"},
		{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"rain"}]}`
	a := decode[openAIAnswer](t, w.call(OpenAI, paths[OpenAI], body).body)
	require.NotEmpty(t, *a.Choices[0].Message.Content)
}

func TestChoicesTakeTurns(t *testing.T) {
	w := start(t)
	whole := w.openai(OpenAI, "gpt-sandbox", "hello [[tokens 4]]", `"n":2`)
	require.Len(t, whole.Choices, 2)
	require.Equal(t, int64(8), whole.Usage.CompletionTokens)
	require.NotEqual(t, *whole.Choices[0].Message.Content, *whole.Choices[1].Message.Content)
	said := [2]string{}
	for _, e := range events(t, w.ask(OpenAI, "gpt-sandbox", "hello [[tokens 4]]", []string{`"n":2`, `"stream":true`}).body) {
		if e.data != "[DONE]" {
			for _, c := range decode[openAIChunk](t, e.data).Choices {
				if c.Delta.Content != nil {
					said[c.Index] += *c.Delta.Content
				}
			}
		}
	}
	for i, c := range whole.Choices {
		require.Equal(t, *c.Message.Content, said[i])
	}
}

func TestOpenAIRefusesInItsShape(t *testing.T) {
	w := start(t)
	for name, test := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
	}{
		"no key":           {bodyOf(t, OpenAI, "gpt-sandbox", "x"), []string{"Authorization", ""}, 401, "invalid_api_key"},
		"another's key":    {bodyOf(t, OpenAI, "gpt-sandbox", "x"), []string{"Authorization", "Bearer sk-real"}, 401, "invalid_api_key"},
		"no credit":        {bodyOf(t, OpenAI, "gpt-sandbox", "x"), []string{"Authorization", "Bearer " + KeyOutOfCredit + "-1"}, 429, "insufficient_quota"},
		"rate limited":     {bodyOf(t, OpenAI, "gpt-sandbox", "x"), []string{"Authorization", "Bearer " + KeyRateLimited}, 429, "rate_limit_exceeded"},
		"no such model":    {bodyOf(t, OpenAI, "claude-sandbox", "x"), nil, 404, "model_not_found"},
		"no JSON":          {"{", nil, 400, ""},
		"no messages":      {`{"model":"gpt-sandbox"}`, nil, 400, ""},
		"no such role":     {`{"model":"gpt-sandbox","messages":[{"role":"king","content":""}]}`, nil, 400, ""},
		"no such content":  {`{"model":"gpt-sandbox","messages":[{"role":"user","content":5}]}`, nil, 400, ""},
		"no tokens":        {bodyOf(t, OpenAI, "gpt-sandbox", "x", `"max_tokens":0`), nil, 400, ""},
		"five stops":       {bodyOf(t, OpenAI, "gpt-sandbox", "x", `"stop":["a","b","c","d","e"]`), nil, 400, ""},
		"no such fault":    {bodyOf(t, OpenAI, "gpt-sandbox", "x"), []string{FaultHeader, "explode"}, 400, ""},
		"a fault in words": {bodyOf(t, OpenAI, "gpt-sandbox", "[[fault explode]]"), nil, 400, ""},
		"too long":         {bodyOf(t, OpenAI, "gpt-sandbox", strings.Repeat("a ", contextWindow)), nil, 400, "context_length_exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.call(OpenAI, paths[OpenAI], test.body, test.headers...)
			require.NoError(t, a.err)
			require.Equal(t, test.status, a.status, a.body)
			e := decode[openAIError](t, a.body).Error
			require.NotEmpty(t, e.Message)
			require.NotEmpty(t, e.Type)
			if test.code != "" {
				require.Equal(t, test.code, *e.Code)
			} else {
				require.Nil(t, e.Code)
			}
			require.NotEmpty(t, a.header.Get("X-Request-Id"))
		})
	}
	require.Empty(t, w.rows(), "none of it is billed")
	require.Equal(t, http.StatusNotFound, w.call(OpenAI, "/llm/openai/v1/responses", "{}").status)
}

func TestOpenAIListsItsModels(t *testing.T) {
	w := start(t)
	list := decode[openAIModels](t, w.call(OpenAI, "/llm/openai/v1/models", "").body)
	require.Equal(t, "list", list.Object)
	require.Len(t, list.Data, 4)
	require.Equal(t, "gpt-sandbox", decode[openAIModel](t, w.call(OpenAI, "/llm/openai/v1/models/gpt-sandbox", "").body).ID)
	require.Equal(t, 404, w.call(OpenAI, "/llm/openai/v1/models/claude-sandbox", "").status)
	require.Equal(t, 401, w.call(OpenAI, "/llm/openai/v1/models", "", "Authorization", "").status)
}
