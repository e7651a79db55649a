package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recordings are streams as the providers send them.
var recordings = []string{"openai", "openai_tools", "anthropic"}

func recorded(t require.TestingT, name string) []byte {
	stream, err := os.ReadFile(filepath.Join("testdata", name+".sse"))
	require.NoError(t, err)
	return stream
}

func protocolOf(name string) Protocol {
	if strings.HasPrefix(name, "openai") {
		return OpenAI
	}
	return Anthropic
}

// follow sees a stream up to its end, wherever that is.
func follow(t require.TestingT, p Protocol, stream []byte) (s *Stream, kinds []Kind, passed []byte) {
	s = NewStream(p)
	var e Events
	require.NoError(t, e.Feed(stream, func(ev Event) error {
		kind, err := s.See(ev)
		require.NoError(t, err)
		kinds = append(kinds, kind)
		passed = append(passed, ev.Raw...)
		return nil
	}))
	return s, kinds, passed
}

func TestARecordedStreamIsUnderstood(t *testing.T) {
	for _, c := range []struct {
		name              string
		kinds             []Kind
		usage             Usage
		id, model, finish string
		produced          int64
	}{
		{
			"openai",
			[]Kind{Preamble, Content, Ping, Content, Content, UsageOnly, End},
			Usage{Input: 176, CacheRead: 1024, Output: 41, Reasoning: 30},
			"chatcmpl-B9f1", "gpt-5.2-2026-03-01", "stop", 41,
		},
		{
			"openai_tools",
			[]Kind{Preamble, Content, Content, Content, Content, Content, UsageOnly, End},
			Usage{Input: 90, Output: 22},
			"chatcmpl-C001", "gpt-5.2", "tool_calls", 22,
		},
		{
			"anthropic",
			[]Kind{
				Preamble, Preamble, Ping, Content, Content, Preamble, Preamble, Content, Preamble,
				Content, Preamble, Content, Content, Preamble, Content, End,
			},
			Usage{Input: 25, CacheRead: 2048, CacheWrite: 200, CacheWrite1h: 100, Output: 89, Reasoning: 12},
			"msg_01Tide", "claude-opus-4-5-20251101", "tool_use", 89,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := recorded(t, c.name)
			s, kinds, passed := follow(t, protocolOf(c.name), stream)
			require.Equal(t, c.kinds, kinds)
			usage, exact := s.Usage()
			require.Equal(t, c.usage, usage)
			require.True(t, exact)
			require.True(t, s.Complete())
			require.Nil(t, s.Failed())
			require.Equal(t, []string{c.id, c.model, c.finish}, []string{s.ID(), s.Model(), s.Finish()})
			require.Equal(t, c.produced, s.Produced())
			require.Equal(t, string(stream), string(passed), "what is passed on is what came")
		})
	}
}

func TestACutStreamIsNeverTakenForAWholeOne(t *testing.T) {
	for _, name := range recordings {
		for _, eol := range []string{"\n", "\r\n"} {
			t.Run(name+" "+map[string]string{"\n": "LF", "\r\n": "CRLF"}[eol], func(t *testing.T) {
				p := protocolOf(name)
				stream := bytes.ReplaceAll(recorded(t, name), []byte("\n"), []byte(eol))
				whole, _, _ := follow(t, p, stream)
				bill, _ := whole.Usage()
				// The last event is whole at the first byte of its blank line's end.
				last := len(stream) - len(eol) + 1
				before := int64(0)
				for cut := range last {
					s, _, passed := follow(t, p, stream[:cut])
					require.False(t, s.Complete(), "cut at %d", cut)
					require.True(t, bytes.HasPrefix(stream, passed))
					if usage, exact := s.Usage(); exact {
						require.Equal(t, bill, usage, "cut at %d", cut)
					}
					require.GreaterOrEqual(t, s.Produced(), before, "what was produced only grows")
					before = s.Produced()
				}
				s, _, _ := follow(t, p, stream[:last])
				require.True(t, s.Complete())
			})
		}
	}
}

func TestAChunkIsWhatItBrings(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Protocol
		data string
		want Kind
	}{
		{"an empty content", OpenAI, `{"choices":[{"delta":{"content":""}}]}`, Preamble},
		{"a role and a content", OpenAI, `{"choices":[{"delta":{"role":"assistant","content":"Hi"}}]}`, Content},
		{"a refusal", OpenAI, `{"choices":[{"delta":{"refusal":"No."}}]}`, Content},
		{"reasoning, as others have it", OpenAI, `{"choices":[{"delta":{"reasoning_content":"Hm"}}]}`, Content},
		{"no calls of tools", OpenAI, `{"choices":[{"delta":{"tool_calls":[]}}]}`, Preamble},
		{"a call of a tool without arguments", OpenAI, `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}`, Content},
		{"the end of an answer without content", OpenAI, `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`, Content},
		{"the second choice", OpenAI, `{"choices":[{"delta":{}},{"delta":{"content":"x"}}]}`, Content},
		{"neither choices nor usage, as Azure begins", OpenAI, `{"choices":[],"prompt_filter_results":[]}`, Preamble},
		{"usage and no choices", OpenAI, `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, UsageOnly},
		{"usage and null choices", OpenAI, `{"choices":null,"usage":{"prompt_tokens":1,"completion_tokens":1}}`, UsageOnly},
		{"usage with the end", OpenAI, `{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, Content},
		{"an error", OpenAI, `{"error":{"message":"x"}}`, Failure},
		{"no error", OpenAI, `{"error":null,"choices":[]}`, Preamble},
		{"an end", OpenAI, ` [DONE] `, End},
		{"a block with text", Anthropic, `{"type":"content_block_start","content_block":{"type":"text","text":"a"}}`, Content},
		{"a block of a type that is not known", Anthropic, `{"type":"content_block_start","content_block":{"type":"web_search_tool_result"}}`, Content},
		{"an empty delta", Anthropic, `{"type":"content_block_delta","delta":{"type":"text_delta","text":""}}`, Preamble},
		{"a delta before its type", Anthropic, `{"delta":{"text":"x","type":"text_delta"},"index":0,"type":"content_block_delta"}`, Content},
		{"a delta of a type that is not known", Anthropic, `{"type":"content_block_delta","delta":{"type":"x_delta","x":1}}`, Content},
		{"a usage on the way", Anthropic, `{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":3}}`, Preamble},
		{"an event that is not known", Anthropic, `{"type":"moon_phase"}`, Preamble},
		{"an overload", Anthropic, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, Failure},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind, err := NewStream(c.p).See(Event{Data: []byte(c.data)})
			require.NoError(t, err)
			require.Equal(t, c.want.String(), kind.String())
		})
	}
}

func TestAnErrorInAStreamKeepsItFromBeingWhole(t *testing.T) {
	for name, c := range map[string]struct {
		p      Protocol
		stream string
		want   ProviderError
	}{
		"openai": {
			OpenAI, `data: {"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}` + "\n\ndata: [DONE]\n\n",
			ProviderError{Status: 500, Type: "server_error", Message: "The server had an error"},
		},
		"openai, a name instead of a member": {
			OpenAI, "event: error\n" + `data: {"message":"engine is dead","code":503}` + "\n\n",
			ProviderError{Status: 503, Code: "503", Message: "engine is dead"},
		},
		"anthropic": {
			Anthropic, "event: error\n" + `data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_9"}` + "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
			ProviderError{Status: 529, Type: "overloaded_error", Message: "Overloaded", RequestID: "req_9"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			begin := recorded(t, c.p.String())
			begin = begin[:bytes.LastIndex(begin[:len(begin)-2], []byte("\n\n"))+2] // but for its end
			s, _, _ := follow(t, c.p, append(begin, c.stream...))
			require.NotNil(t, s.Failed())
			got := *s.Failed()
			require.NotEmpty(t, got.Raw)
			got.Raw = nil
			require.Equal(t, c.want, got)
			require.False(t, s.Complete())
			_, exact := s.Usage()
			require.False(t, exact)
		})
	}
}

func TestAnEventThatCannotBeReadIsAFailure(t *testing.T) {
	for _, p := range []Protocol{OpenAI, Anthropic} {
		s := NewStream(p)
		kind, err := s.See(Event{Data: []byte(`{"choices":[{"delta":`)})
		require.Equal(t, Failure, kind)
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax)
	}
	s, _, _ := follow(t, OpenAI, recorded(t, "openai"))
	require.True(t, s.Complete())
	s = NewStream(OpenAI)
	_, _ = s.See(Event{Data: []byte(`{"choices":[{"delta":{}}]}`)})
	_, err := s.See(Event{Data: []byte(`oops`)})
	require.Error(t, err)
	_, err = s.See(Event{Data: []byte(`[DONE]`)})
	require.NoError(t, err)
	require.False(t, s.Complete())
}

func TestAnEndAloneIsNoAnswer(t *testing.T) {
	s, kinds, _ := follow(t, OpenAI, []byte("data: [DONE]\n\n"))
	require.Equal(t, []Kind{End}, kinds)
	require.False(t, s.Complete())
}

func TestTheEndOfOneProtocolIsNotThatOfTheOther(t *testing.T) {
	s := NewStream(Anthropic)
	_, err := s.See(Event{Data: []byte(`{"type":"message_start","message":{}}`)})
	require.NoError(t, err)
	kind, err := s.See(Event{Data: []byte(`[DONE]`)})
	require.Error(t, err)
	require.Equal(t, Failure, kind)
	require.False(t, s.Complete())
}

func TestWhatFollowsTheEndIsNotHeard(t *testing.T) {
	stream := append(recorded(t, "openai"), `data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`+"\n\n"...)
	s, kinds, _ := follow(t, OpenAI, stream)
	require.Equal(t, Ping, kinds[len(kinds)-1])
	usage, exact := s.Usage()
	require.True(t, exact)
	require.EqualValues(t, 41, usage.Output)
}

func TestARunningUsageIsExactOnlyAtTheEnd(t *testing.T) {
	s := NewStream(OpenAI)
	exactAfter := func(data string) bool {
		_, err := s.See(Event{Data: []byte(data)})
		require.NoError(t, err)
		_, exact := s.Usage()
		return exact
	}
	const usage = `"usage":{"prompt_tokens":7,"completion_tokens":2}}`
	require.False(t, exactAfter(`{"choices":[{"delta":{"content":"a"}}],`+usage))
	require.False(t, exactAfter(`{"choices":[],`+usage), "and nothing has ended")
	require.False(t, exactAfter(`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],`+usage), "another choice may go on")
	require.False(t, exactAfter(`{"choices":[{"index":1,"delta":{"content":"b"}}]}`))
	require.False(t, exactAfter(`[DONE]`), "the last word was not the usage")
}

func TestTheUsageOfAnthropicIsOverwritten(t *testing.T) {
	s := NewStream(Anthropic)
	for _, data := range []string{
		`{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_1h_input_tokens":30},"output_tokens":2}}}`,
		`{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":20}}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":12,"cache_creation_input_tokens":50,"cache_read_input_tokens":null,"output_tokens":25}}`,
	} {
		_, exact := s.Usage()
		require.False(t, exact)
		_, err := s.See(Event{Data: []byte(data)})
		require.NoError(t, err)
	}
	usage, exact := s.Usage()
	require.True(t, exact)
	require.Equal(t, Usage{Input: 12, CacheWrite: 20, CacheWrite1h: 30, Output: 25}, usage)
	require.False(t, s.Complete())
}

func TestWhatWasProducedIsEstimatedFromWhatArrived(t *testing.T) {
	s := NewStream(OpenAI)
	require.Zero(t, s.Produced())
	for range 3 {
		_, _ = s.See(Event{Data: []byte(`{"choices":[{"delta":{"content":"a"}}]}`)})
	}
	require.EqualValues(t, 3, s.Produced(), "a token an event, at least")
	_, _ = s.See(Event{Data: []byte(`{"choices":[{"delta":{"content":"` + strings.Repeat("word ", 60) + `"}}]}`)})
	require.EqualValues(t, 101, s.Produced(), "303 bytes")
}

func TestAPieceOfAStreamCostsNoMemory(t *testing.T) {
	for _, name := range recordings {
		stream := recorded(t, name)
		// From the second piece on: the first says who answers.
		stream = stream[bytes.Index(stream, []byte("\n\n"))+2:]
		stream = stream[:bytes.LastIndex(stream, []byte(map[Protocol]string{OpenAI: `"finish_reason":"`, Anthropic: "event: message_delta"}[protocolOf(name)]))]
		stream = stream[:bytes.LastIndex(stream, []byte("\n\n"))+2]
		s := NewStream(protocolOf(name))
		var e Events
		see := func(ev Event) error { _, err := s.See(ev); return err }
		half := len(stream) / 2
		require.NoError(t, e.Feed(stream[:half], see))
		require.NoError(t, e.Feed(stream[half:], see))
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_ = e.Feed(stream[:half], see)
			_ = e.Feed(stream[half:], see)
		}), name)
	}
}
