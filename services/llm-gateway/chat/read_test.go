package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

func TestAnAnswerIsReadFromEitherProtocol(t *testing.T) {
	tide := Part{ToolCall: &ToolCall{"call_1", "tide_at", `{"port":"Brest"}`}}
	for _, c := range []struct {
		name string
		p    wire.Protocol
		body string
		want Response
	}{
		{
			"openai", wire.OpenAI,
			`{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"gpt-5.2","choices":[{"index":0,"message":{"role":"assistant","content":"Ebbing.","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}`,
			Response{ID: "chatcmpl-1", Model: "gpt-5.2", Parts: []Part{{Text: "Ebbing."}}, Finish: Stop, HasUsage: true, Usage: wire.Usage{Input: 6, CacheRead: 4, Output: 3}},
		},
		{
			"openai, a call", wire.OpenAI,
			`{"id":"x","choices":[{"message":{"content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"tide_at","arguments":"{\"port\":\"Brest\"}"}}]},"finish_reason":"tool_calls"}]}`,
			Response{ID: "x", Parts: []Part{tide}, Finish: ToolCalls},
		},
		{
			"openai, a call after which a server says stop", wire.OpenAI,
			`{"choices":[{"message":{"content":"","tool_calls":[{"id":"call_1","function":{"name":"tide_at","arguments":"{\"port\":\"Brest\"}"}}]},"finish_reason":"stop"}]}`,
			Response{Parts: []Part{tide}, Finish: ToolCalls},
		},
		{
			"openai, a call that was cut", wire.OpenAI,
			`{"choices":[{"message":{"content":"I look.","tool_calls":[{"id":"call_1","function":{"name":"tide_at","arguments":"{\"port\":\"Brest\"}"}},{"id":"call_2","function":{"name":"tide_at","arguments":"{\"po"}}]},"finish_reason":"length"}]}`,
			Response{Parts: []Part{{Text: "I look."}, tide}, Finish: Length},
		},
		{
			"openai, a refusal", wire.OpenAI, `{"choices":[{"message":{"content":null,"refusal":"I will not."},"finish_reason":"stop"}]}`,
			Response{Parts: []Part{{Text: "I will not."}}, Finish: Refusal},
		},
		{"openai, a filter", wire.OpenAI, `{"choices":[{"message":{"content":""},"finish_reason":"content_filter"}]}`, Response{Finish: ContentFilter}},
		{"openai, a reason that is not known", wire.OpenAI, `{"choices":[{"message":{},"finish_reason":"eclipse"}]}`, Response{}},
		{"openai, no choices", wire.OpenAI, `{"choices":[]}`, Response{}},
		{
			"anthropic", wire.Anthropic,
			`{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-5","content":[{"type":"thinking","thinking":"Hm.","signature":"x"},{"type":"text","text":"I look."},{"type":"tool_use","id":"call_1","name":"tide_at","input":{"port":"Brest"}}],"stop_reason":"tool_use","usage":{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":3}}`,
			Response{ID: "msg_1", Model: "claude-opus-4-5", Parts: []Part{{Text: "I look."}, tide}, Finish: ToolCalls, HasUsage: true, Usage: wire.Usage{Input: 10, CacheRead: 4, Output: 3}},
		},
		{
			"anthropic, a call that may be cut", wire.Anthropic,
			`{"content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"c","name":"f","input":{}}],"stop_reason":"max_tokens"}`,
			Response{Parts: []Part{{Text: "I look."}}, Finish: Length},
		},
		{"anthropic, a refusal", wire.Anthropic, `{"content":[],"stop_reason":"refusal"}`, Response{Finish: Refusal}},
		{"anthropic, a stop text", wire.Anthropic, `{"content":[{"type":"text","text":""}],"stop_reason":"stop_sequence"}`, Response{Finish: Stop}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Read(c.p, []byte(c.body))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	var failed *wire.ProviderError
	_, err := Read(wire.Anthropic, []byte(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`))
	require.ErrorAs(t, err, &failed)
	for _, body := range []string{``, `{"choices":3}`, `{"choices":[{"message":"x"}]}`} {
		_, err := Read(wire.OpenAI, []byte(body))
		require.Error(t, err)
	}
	_, err = Read(wire.Anthropic, []byte(`{"content":"x"}`))
	require.Error(t, err)
}

// What one provider answered, the next is told.
func TestAConversationMovesToAnotherProvider(t *testing.T) {
	answer, err := Read(wire.OpenAI, []byte(`{"choices":[{"message":{"content":"I look.","tool_calls":[{"id":"call_1","type":"function","function":{"name":"tide_at","arguments":"{\"port\": \"Brest\"}"}}]},"finish_reason":"tool_calls"}]}`))
	require.NoError(t, err)
	r := Request{Model: "m", MaxTokens: 9, Messages: []Message{
		{User, []Part{{Text: "Tide?"}}},
		{Assistant, answer.Parts},
		{User, []Part{{ToolResult: &ToolResult{ToolCallID: "call_1", Content: "ebbing"}}}},
	}}
	body, err := Body(wire.Anthropic, r)
	require.NoError(t, err)
	require.Equal(t, `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Tide?"},{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"call_1","name":"tide_at","input":{"port":"Brest"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"ebbing"}]}]}`, string(body))
}

// feed is what a reader says to a stream, and of what it consists.
func feed(t *testing.T, p wire.Protocol, stream []byte) (deltas []Delta, r *Reader, failed error) {
	t.Helper()
	r = NewReader(p)
	var events wire.Events
	failed = events.Feed(stream, func(e wire.Event) error {
		more, err := r.Feed(e)
		deltas = append(deltas, more...)
		return err
	})
	return deltas, r, failed
}

func recorded(t *testing.T, name string) []byte {
	t.Helper()
	stream, err := os.ReadFile(filepath.Join("..", "wire", "testdata", name+".sse"))
	require.NoError(t, err)
	return stream
}

func TestAStreamIsReadAsItComes(t *testing.T) {
	const said = "The tide is \"ebbing\"\n— déjà."
	for _, c := range []struct {
		name   string
		p      wire.Protocol
		deltas []Delta
		want   Response
	}{
		{
			"openai", wire.OpenAI,
			[]Delta{{Text: "The tide"}, {Text: strings.TrimPrefix(said, "The tide")}},
			Response{ID: "chatcmpl-B9f1", Model: "gpt-5.2-2026-03-01", Parts: []Part{{Text: said}}, Finish: Stop, HasUsage: true, Usage: wire.Usage{Input: 176, CacheRead: 1024, Output: 41, Reasoning: 30}},
		},
		{
			"openai_tools", wire.OpenAI,
			[]Delta{{ToolCall: &ToolCall{"call_a1", "tide_at", `{"port":"Brest"}`}}, {ToolCall: &ToolCall{"call_b2", "wind_at", `{}`}}},
			Response{
				ID: "chatcmpl-C001", Model: "gpt-5.2", Finish: ToolCalls, HasUsage: true, Usage: wire.Usage{Input: 90, Output: 22},
				Parts: []Part{{ToolCall: &ToolCall{"call_a1", "tide_at", `{"port":"Brest"}`}}, {ToolCall: &ToolCall{"call_b2", "wind_at", `{}`}}},
			},
		},
		{
			"anthropic", wire.Anthropic,
			[]Delta{{Text: `The tide is "ebbing".`}, {ToolCall: &ToolCall{"toolu_01A", "tide_at", `{"port": "Brest"}`}}},
			Response{
				ID: "msg_01Tide", Model: "claude-opus-4-5-20251101", Finish: ToolCalls, HasUsage: true,
				Usage: wire.Usage{Input: 25, CacheRead: 2048, CacheWrite: 200, CacheWrite1h: 100, Output: 89, Reasoning: 12},
				Parts: []Part{{Text: `The tide is "ebbing".`}, {ToolCall: &ToolCall{"toolu_01A", "tide_at", `{"port": "Brest"}`}}},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			deltas, r, err := feed(t, c.p, recorded(t, c.name))
			require.NoError(t, err)
			require.Equal(t, c.deltas, deltas)
			got, err := r.Response()
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestAStreamThatWasCutIsNoAnswerAndHasNoCalls(t *testing.T) {
	for name, p := range map[string]wire.Protocol{"openai": wire.OpenAI, "openai_tools": wire.OpenAI, "anthropic": wire.Anthropic} {
		stream := recorded(t, name)
		whole, _, err := feed(t, p, stream)
		require.NoError(t, err)
		for cut := range len(stream) - 1 {
			deltas, r, err := feed(t, p, stream[:cut])
			require.NoError(t, err)
			_, err = r.Response()
			require.ErrorIs(t, err, ErrIncomplete)
			require.Equal(t, whole[:len(deltas)], append([]Delta{}, deltas...), "what came is the beginning")
			for _, d := range deltas {
				require.Nil(t, d.ToolCall)
			}
		}
	}
}

func TestAStreamThatFailsSaysSo(t *testing.T) {
	deltas, r, err := feed(t, wire.OpenAI, []byte("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n"))
	var failed *wire.ProviderError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 500, failed.Status)
	require.Equal(t, []Delta{{Text: "a"}}, deltas)
	_, err = r.Response()
	require.ErrorIs(t, err, ErrIncomplete)

	for p, event := range map[wire.Protocol]string{wire.OpenAI: `{"choices":[{"delta":{"content":{}}}]}`, wire.Anthropic: `{"type":"content_block_delta","delta":"x"}`} {
		_, _, err = feed(t, p, []byte("data: "+event+"\n\n"))
		require.Error(t, err)
		_, _, err = feed(t, p, []byte("data: {\n\n"))
		require.Error(t, err)
	}
}

func TestACallThatALimitCutIsNotPassedOn(t *testing.T) {
	deltas, r, err := feed(t, wire.OpenAI, []byte(
		`data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}`+"\n\n"+
			`data: {"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"f","arguments":"{\"x"}}]}}]}`+"\n\n"+
			`data: {"choices":[{"delta":{},"finish_reason":"length"}]}`+"\n\ndata: [DONE]\n\n"))
	require.NoError(t, err)
	require.Equal(t, []Delta{{ToolCall: &ToolCall{"a", "f", "{}"}}}, deltas)
	got, err := r.Response()
	require.NoError(t, err)
	require.Equal(t, Length, got.Finish)
}

func TestCallsWithoutNumbersAreToldApartByTheirNames(t *testing.T) {
	piece := func(call string) string {
		return `data: {"choices":[{"delta":{"tool_calls":[` + call + `]}}]}` + "\n\n"
	}
	deltas, _, err := feed(t, wire.OpenAI, []byte(
		piece(`{"id":"a","function":{"name":"f","arguments":"{\"x\""}}`)+piece(`{"function":{"arguments":":1}"}}`)+
			piece(`{"id":"b","function":{"name":"g","arguments":"{}"}}`)+"data: [DONE]\n\n"))
	require.NoError(t, err)
	require.Equal(t, []Delta{{ToolCall: &ToolCall{"a", "f", `{"x":1}`}}, {ToolCall: &ToolCall{"b", "g", `{}`}}}, deltas)
}

func TestARefusalInAStreamIsTextAndAReason(t *testing.T) {
	deltas, r, err := feed(t, wire.OpenAI, []byte(`data: {"choices":[{"delta":{"refusal":"No."}}]}`+"\n\n"+`data: {"choices":[{"index":1,"delta":{"content":"another choice"}},{"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n"))
	require.NoError(t, err)
	require.Equal(t, []Delta{{Text: "No."}}, deltas)
	got, err := r.Response()
	require.NoError(t, err)
	require.Equal(t, Refusal, got.Finish)
	require.Equal(t, "REFUSAL", got.Finish.String())
	require.False(t, got.HasUsage)
}

func TestACallWithoutArgumentsHasAnEmptyObject(t *testing.T) {
	deltas, _, err := feed(t, wire.Anthropic, []byte(
		`data: {"type":"message_start","message":{}}`+"\n\n"+
			`data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}`+"\n\n"+
			`data: {"type":"message_delta","delta":{"stop_reason":"tool_use"}}`+"\n\ndata: {\"type\":\"message_stop\"}\n\n"))
	require.NoError(t, err)
	require.Equal(t, []Delta{{ToolCall: &ToolCall{"c", "f", "{}"}}}, deltas)
}
