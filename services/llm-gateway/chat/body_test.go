package chat

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// conversation has all that both protocols can say.
func conversation() Request {
	return Request{
		Model:  "m",
		System: "Answer as a <harbour master>.",
		Messages: []Message{
			{User, []Part{
				{Text: "What is the tide here?"},
				{Image: &Image{URL: "https://example.com/quay.png"}},
				{Image: &Image{Data: []byte{0x89, 'P'}, MediaType: "image/png"}},
			}},
			{Assistant, []Part{
				{Text: "I look."},
				{ToolCall: &ToolCall{"call_1", "tide_at", `{"port": "Brest"}`}},
				{ToolCall: &ToolCall{"call_2", "moon", `{}`}},
			}},
			{User, []Part{
				{ToolResult: &ToolResult{ToolCallID: "call_1", Content: "ebbing"}},
				{ToolResult: &ToolResult{ToolCallID: "call_2", Content: ""}},
				{Text: "And now?"},
			}},
		},
		MaxTokens:   100,
		Temperature: new(0.5),
		TopP:        new(0.9),
		Stop:        []string{"END"},
		Tools: []Tool{
			{Name: "tide_at", Description: "The tide.", Parameters: json.RawMessage(`{"type":"object","properties":{"port":{"type":"string"}},"required":["port"]}`)},
			{Name: "moon"},
		},
		ToolChoice: ToolRequired,
		Metadata:   map[string]string{UserID: "u1"},
		Stream:     true,
	}
}

func TestARequestIsSaidInOpenAIsProtocol(t *testing.T) {
	body, err := Body(wire.OpenAI, conversation())
	require.NoError(t, err)
	require.Equal(t, `{"model":"m","messages":[`+
		`{"role":"system","content":"Answer as a <harbour master>."},`+
		`{"role":"user","content":[{"type":"text","text":"What is the tide here?"},{"type":"image_url","image_url":{"url":"https://example.com/quay.png"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVA="}}]},`+
		`{"role":"assistant","content":"I look.","tool_calls":[{"id":"call_1","type":"function","function":{"name":"tide_at","arguments":"{\"port\": \"Brest\"}"}},{"id":"call_2","type":"function","function":{"name":"moon","arguments":"{}"}}]},`+
		`{"role":"tool","content":"ebbing","tool_call_id":"call_1"},`+
		`{"role":"tool","content":"","tool_call_id":"call_2"},`+
		`{"role":"user","content":"And now?"}],`+
		`"max_completion_tokens":100,"temperature":0.5,"top_p":0.9,"stop":["END"],`+
		`"tools":[{"type":"function","function":{"name":"tide_at","description":"The tide.","parameters":{"type":"object","properties":{"port":{"type":"string"}},"required":["port"]}}},{"type":"function","function":{"name":"moon"}}],`+
		`"tool_choice":"required","user":"u1","stream":true,"stream_options":{"include_usage":true}}`, string(body))
}

func TestARequestIsSaidInAnthropicsProtocol(t *testing.T) {
	body, err := Body(wire.Anthropic, conversation())
	require.NoError(t, err)
	require.Equal(t, `{"model":"m","max_tokens":100,"system":"Answer as a <harbour master>.","messages":[`+
		`{"role":"user","content":[{"type":"text","text":"What is the tide here?"},{"type":"image","source":{"type":"url","url":"https://example.com/quay.png"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVA="}}]},`+
		`{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"call_1","name":"tide_at","input":{"port":"Brest"}},{"type":"tool_use","id":"call_2","name":"moon","input":{}}]},`+
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"ebbing"},{"type":"tool_result","tool_use_id":"call_2","content":""},{"type":"text","text":"And now?"}]}],`+
		`"temperature":0.5,"top_p":0.9,"stop_sequences":["END"],`+
		`"tools":[{"name":"tide_at","description":"The tide.","input_schema":{"type":"object","properties":{"port":{"type":"string"}},"required":["port"]}},{"name":"moon","input_schema":{"type":"object","properties":{}}}],`+
		`"tool_choice":{"type":"any"},"metadata":{"user_id":"u1"},"stream":true}`, string(body))
}

func TestWhatIsNotSaidIsLeftOut(t *testing.T) {
	r := Request{Model: "m", Messages: []Message{{User, []Part{{Text: "Hi"}}}}, ToolChoice: ToolNone}
	openAI, err := Body(wire.OpenAI, r)
	require.NoError(t, err)
	require.Equal(t, `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, string(openAI))
	anthropic, err := Body(wire.Anthropic, r)
	require.NoError(t, err)
	require.Equal(t, `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, string(anthropic))

	r.Tools, r.Temperature = []Tool{{Name: "f"}}, new(0.0)
	openAI, err = Body(wire.OpenAI, r)
	require.NoError(t, err)
	require.Contains(t, string(openAI), `"tool_choice":"none"`)
	require.Contains(t, string(openAI), `"temperature":0`)
	anthropic, err = Body(wire.Anthropic, r)
	require.NoError(t, err)
	require.Contains(t, string(anthropic), `"tool_choice":{"type":"none"}`)

	r.Messages = []Message{{Assistant, []Part{{ToolCall: &ToolCall{"c", "f", ""}}}}}
	openAI, err = Body(wire.OpenAI, r)
	require.NoError(t, err)
	require.Contains(t, string(openAI), `{"role":"assistant","content":null,"tool_calls"`)
	anthropic, err = Body(wire.Anthropic, r)
	require.NoError(t, err)
	require.Contains(t, string(anthropic), `"input":{}`, "no arguments are an empty object")
}

func TestWhatAProtocolCannotSayIsRefusedByName(t *testing.T) {
	say := func(m ...Message) Request { return Request{Model: "m", Messages: m} }
	call := Part{ToolCall: &ToolCall{"c", "f", `{}`}}
	for _, c := range []struct {
		name              string
		r                 Request
		openAI, anthropic string // the field that cannot be said, empty if all can
	}{
		{"a failed result", say(Message{User, []Part{{ToolResult: &ToolResult{"c", "x", true}}}}), "messages[0].parts[0].tool_result.failed", ""},
		{"text after a call", say(Message{Assistant, []Part{call, {Text: "so"}}}), "messages[0].parts[1].text", ""},
		{"five stops", Request{Stop: []string{"a", "b", "c", "d", "e"}}, "stop", ""},
		{"much temperature", Request{Temperature: new(1.5)}, "", "temperature"},
		{"arguments that are none", say(Message{Assistant, []Part{{ToolCall: &ToolCall{"c", "f", `{"a":`}}}}), "", "messages[0].parts[0].tool_call.arguments"},
		{"arguments in a list", say(Message{Assistant, []Part{{ToolCall: &ToolCall{"c", "f", `[]`}}}}), "", "messages[0].parts[0].tool_call.arguments"},
		{"metadata", Request{Metadata: map[string]string{"team": "x"}}, "metadata.team", "metadata.team"},
		{"a required call without tools", Request{ToolChoice: ToolRequired}, "tool_choice", "tool_choice"},
		{"a schema that is none", Request{Tools: []Tool{{Name: "f", Parameters: json.RawMessage(`true`)}}}, "tools[0].parameters", "tools[0].parameters"},
		{"another role", say(Message{"system", []Part{{Text: "x"}}}), "messages[0].role", "messages[0].role"},
		{"a call by the user", say(Message{User, []Part{call}}), "messages[0].parts[0].tool_call", "messages[0].parts[0].tool_call"},
		{"a result by the assistant", say(Message{Assistant, []Part{{ToolResult: &ToolResult{}}}}), "messages[0].parts[0].tool_result", "messages[0].parts[0].tool_result"},
		{"a result after text", say(Message{User, []Part{{Text: "x"}, {ToolResult: &ToolResult{}}}}), "messages[0].parts[1].tool_result", "messages[0].parts[1].tool_result"},
		{"a picture by the assistant", say(Message{Assistant, []Part{{Image: &Image{URL: "https://example.com"}}}}), "messages[0].parts[0].image", "messages[0].parts[0].image"},
		{"bytes of no type", say(Message{User, []Part{{Image: &Image{Data: []byte("x")}}}}), "messages[0].parts[0].image.media_type", "messages[0].parts[0].image.media_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for p, field := range map[wire.Protocol]string{wire.OpenAI: c.openAI, wire.Anthropic: c.anthropic} {
				_, err := Body(p, c.r)
				if field == "" {
					require.NoError(t, err)
					continue
				}
				var unsupported *UnsupportedError
				require.ErrorAs(t, err, &unsupported)
				require.Equal(t, p, unsupported.Protocol)
				require.Equal(t, field, unsupported.Field)
			}
		})
	}
	_, err := Body(wire.Anthropic, Request{Temperature: new(1.5)})
	require.EqualError(t, err, "temperature cannot be said in the anthropic protocol: at most 1")
	_, err = Body(0, Request{})
	require.EqualError(t, err, "body in protocol(0)")
}

// Whatever is said, the gateway understands its own bodies, and the same request has
// the same bytes.
func TestABodyIsWhatRoutingUnderstands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]wire.Protocol{wire.OpenAI, wire.Anthropic}).Draw(t, "protocol")
		r := Request{
			Model:     rapid.StringMatching(`[a-z<"\\é]{1,9}`).Draw(t, "model"),
			System:    rapid.String().Draw(t, "system"),
			MaxTokens: rapid.Int64Range(0, 9).Draw(t, "max tokens"),
			Stream:    rapid.Bool().Draw(t, "stream"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "messages") {
			m := Message{Role: rapid.SampledFrom([]Role{User, Assistant}).Draw(t, "role")}
			for range rapid.IntRange(0, 3).Draw(t, "parts") {
				m.Parts = append(m.Parts, rapid.SampledFrom([]Part{
					{Text: rapid.String().Draw(t, "text")},
					{ToolCall: &ToolCall{"c", "f", rapid.SampledFrom([]string{"", `{"a":"<"}`, "no"}).Draw(t, "arguments")}},
					{ToolResult: &ToolResult{"c", "x", rapid.Bool().Draw(t, "failed")}},
					{Image: &Image{URL: "https://example.com"}},
				}).Draw(t, "part"))
			}
			r.Messages = append(r.Messages, m)
		}
		body, err := Body(p, r)
		if err != nil {
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported)
			return
		}
		again, err := Body(p, r)
		require.NoError(t, err)
		require.Equal(t, string(body), string(again))
		found, err := wire.Scan(p, body)
		require.NoError(t, err)
		require.Equal(t, r.Model, found.Model)
		require.Equal(t, r.MaxTokens, found.MaxTokens)
		require.Equal(t, r.Stream, found.Stream)
		require.Equal(t, r.Stream && p == wire.OpenAI, found.IncludeUsage)
	})
}
