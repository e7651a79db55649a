package llm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnthropicAnswersInOnePieceAndInEventsTheSame(t *testing.T) {
	w := start(t)
	whole := w.anthropic("claude-sandbox", "hello")
	require.Equal(t, "end_turn", *whole.StopReason)
	require.True(t, strings.HasPrefix(whole.ID, "msg_"))

	a := w.ask(Anthropic, "claude-sandbox", "hello", streamed)
	require.NoError(t, a.err)
	require.Equal(t, *whole.Content[0].Text, texts(t, Anthropic, a.body))
	all := events(t, a.body)
	require.Equal(t, []string{
		"message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
	}, names(all))
	begun := decode[anthropicStart](t, all[0].data).Message
	require.Equal(t, whole.Usage.InputTokens, begun.Usage.InputTokens)
	require.Equal(t, int64(1), begun.Usage.OutputTokens)
	require.Contains(t, all[0].data, `"stop_reason":null`)
	end := decode[anthropicEnd](t, all[len(all)-2].data)
	require.Equal(t, "end_turn", end.Delta.StopReason)
	require.Equal(t, whole.Usage.OutputTokens, end.Usage.OutputTokens, "all of it, not what is new")
	require.Equal(t, whole.Usage.InputTokens, end.Usage.InputTokens)
}

func TestAnthropicEndsForItsReasons(t *testing.T) {
	w := start(t)
	short := w.anthropic("claude-sandbox", "hello [[tokens 9]]", `"max_tokens":4`)
	require.Equal(t, "max_tokens", *short.StopReason)
	require.Equal(t, int64(4), short.Usage.OutputTokens)
	stopped := w.anthropic("claude-sandbox", "[[say one two STOP three]]", `"stop_sequences":["STOP"]`)
	require.Equal(t, "stop_sequence", *stopped.StopReason)
	require.Equal(t, "STOP", *stopped.StopSequence)
	require.Equal(t, "one two ", *stopped.Content[0].Text)
	require.Equal(t, "refusal", *w.anthropic("claude-sandbox", "[[refuse]]").StopReason)
}

func TestAnthropicCallsToolsInFragments(t *testing.T) {
	tools := `"tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string","enum":["Bergen"]}}}}]`
	w := start(t)
	for _, fields := range [][]string{{tools, `"tool_choice":{"type":"any"}`}, {tools, `"tool_choice":{"type":"tool","name":"weather"}`}} {
		c := w.anthropic("claude-sandbox", "hello", fields...)
		require.Equal(t, "tool_use", *c.StopReason)
		require.JSONEq(t, `{"city":"Bergen"}`, string(c.Content[0].Input))
	}
	var arguments string
	for _, e := range events(t, w.ask(Anthropic, "claude-sandbox", "weather", []string{`"stream":true`, tools}).body) {
		if e.name == "content_block_delta" {
			arguments += *decode[anthropicBlockDelta](t, e.data).Delta.PartialJSON
		}
	}
	require.JSONEq(t, `{"city":"Bergen"}`, arguments)

	body := `{"model":"claude-sandbox","max_tokens":99,` + tools + `,"messages":[{"role":"user","content":"weather"},
		{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"rain"}]}]}`
	a := decode[anthropicAnswer](t, w.call(Anthropic, paths[Anthropic], body).body)
	require.Equal(t, "text", a.Content[0].Type, "after the result comes text")
}

func TestAnthropicShowsItsThoughtsWhereItIsAsked(t *testing.T) {
	w := start(t)
	shown := w.anthropic("sandbox-reasoning", "hello [[tokens 5]]", `"thinking":{"type":"enabled","budget_tokens":1024}`)
	require.Equal(t, "thinking", shown.Content[0].Type)
	require.NotEmpty(t, *shown.Content[0].Signature)
	thought := countTokens(*shown.Content[0].Thinking)
	require.Equal(t, thought, shown.Usage.OutputTokensDetails.ThinkingTokens)
	require.Equal(t, thought+5, shown.Usage.OutputTokens)
	hidden := w.anthropic("sandbox-reasoning", "hello [[tokens 5]]")
	require.Len(t, hidden.Content, 1)
	require.Equal(t, shown.Usage.OutputTokens, hidden.Usage.OutputTokens)
}

func TestAnthropicCountsWhatItWouldBill(t *testing.T) {
	w := start(t)
	body := bodyOf(t, Anthropic, "claude-sandbox", strings.Repeat("holdfast ", 50))
	counted := decode[map[string]int64](t, w.call(Anthropic, "/llm/anthropic/v1/messages/count_tokens", body).body)
	require.Equal(t, w.anthropic("claude-sandbox", strings.Repeat("holdfast ", 50)).Usage.InputTokens, counted["input_tokens"])
	require.Len(t, w.rows(), 1, "counting costs nothing")
}

func TestAnthropicRefusesInItsShape(t *testing.T) {
	w := start(t)
	for name, test := range map[string]struct {
		body    string
		headers []string
		status  int
		kind    string
	}{
		"no key":        {bodyOf(t, Anthropic, "claude-sandbox", "x"), []string{"X-Api-Key", ""}, 401, "authentication_error"},
		"no version":    {bodyOf(t, Anthropic, "claude-sandbox", "x"), []string{"Anthropic-Version", ""}, 400, "invalid_request_error"},
		"no credit":     {bodyOf(t, Anthropic, "claude-sandbox", "x"), []string{"X-Api-Key", KeyOutOfCredit}, 402, "billing_error"},
		"rate limited":  {bodyOf(t, Anthropic, "claude-sandbox", "x"), []string{"X-Api-Key", KeyRateLimited}, 429, "rate_limit_error"},
		"no such model": {bodyOf(t, Anthropic, "gpt-sandbox", "x"), nil, 404, "not_found_error"},
		"no limit":      {`{"model":"claude-sandbox","messages":[{"role":"user","content":"x"}]}`, nil, 400, "invalid_request_error"},
		"system role":   {`{"model":"claude-sandbox","max_tokens":9,"messages":[{"role":"system","content":"x"}]}`, nil, 400, "invalid_request_error"},
		"overloaded":    {bodyOf(t, Anthropic, "claude-sandbox", "x"), []string{FaultHeader, "status; status=529"}, 529, "overloaded_error"},
		"its spend": {
			bodyOf(t, Anthropic, "claude-sandbox", "x"), []string{FaultHeader, "status; status=429; code=enforced_spend_limit_reached"}, 429, "rate_limit_error",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.call(Anthropic, paths[Anthropic], test.body, test.headers...)
			require.NoError(t, a.err)
			require.Equal(t, test.status, a.status, a.body)
			e := decode[anthropicError](t, a.body)
			require.Equal(t, "error", e.Type)
			require.Equal(t, test.kind, e.Error.Type)
			require.Equal(t, a.header.Get("Request-Id"), e.RequestID)
			if name == "its spend" {
				require.Equal(t, "enforced_spend_limit_reached", e.Error.Details.ErrorCode)
				require.Empty(t, a.header.Get("Retry-After"))
			}
		})
	}
	require.Empty(t, w.rows(), "none of it is billed")
}

func TestAnthropicListsItsModels(t *testing.T) {
	w := start(t)
	list := decode[anthropicModels](t, w.call(Anthropic, "/llm/anthropic/v1/models", "").body)
	require.Len(t, list.Data, 4)
	require.False(t, list.HasMore)
	require.Equal(t, "claude-sandbox", *list.LastID)
}
