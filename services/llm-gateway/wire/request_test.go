package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestScanFindsWhatRoutingNeeds(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Protocol
		body string
		want Request
	}{
		{
			"openai, all of it", OpenAI,
			`{"model":"gpt-5.2","messages":[{"role":"user","content":"\"model\":\"x\", }]"}],"stream":true,"max_tokens":9,"max_completion_tokens":70,"n":3,"stream_options":{"include_obfuscation":false,"include_usage":true}}`,
			Request{Model: "gpt-5.2", Stream: true, MaxTokens: 70, Choices: 3, IncludeUsage: true},
		},
		{"openai, only the older limit", OpenAI, `{"max_tokens":9,"model":"m"}`, Request{Model: "m", MaxTokens: 9, Choices: 1}},
		{"openai, nulls", OpenAI, `{"model":"m","stream":null,"n":null,"max_tokens":null,"max_completion_tokens":null,"stream_options":null}`, Request{Model: "m", Choices: 1}},
		{"a usage that is not wanted", OpenAI, `{"model":"m","stream_options":{"include_usage":false}}`, Request{Model: "m", Choices: 1}},
		{"anthropic", Anthropic, "\n{ \"max_tokens\" : 1024 , \"stream\" : false , \"model\" : \"claude-opus-4-5\" }\n", Request{Model: "claude-opus-4-5", MaxTokens: 1024, Choices: 1}},
		{"anthropic, members that only OpenAI has", Anthropic, `{"model":"m","n":"x","n":"y","stream_options":3}`, Request{Model: "m", Choices: 1}},
		{"a name with escapes", OpenAI, `{"\u006dodel":"gpt\u002d\"5\""}`, Request{Model: `gpt-"5"`, Choices: 1}},
		{"members of the same name further down", OpenAI, `{"model":"m","metadata":{"model":"other","stream":true},"messages":[{"model":"other"}]}`, Request{Model: "m", Choices: 1}},
		{"a name outside ASCII", OpenAI, `{"model":"modèle"}`, Request{Model: "modèle", Choices: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Scan(c.p, []byte(c.body))
			require.NoError(t, err)
			require.Equal(t, c.body, string(r.Body))
			require.Equal(t, c.p, r.Protocol)
			require.Equal(t, c.want, Request{Model: r.Model, Stream: r.Stream, MaxTokens: r.MaxTokens, Choices: r.Choices, IncludeUsage: r.IncludeUsage})
		})
	}
}

func TestScanRefusesWhatTwoReadersCouldUnderstandDifferently(t *testing.T) {
	for _, c := range []struct{ name, body, field, message string }{
		{"a model twice", `{"model":"cheap","model":"dear"}`, "model", "said twice"},
		{"once with escapes", `{"model":"cheap","mod\u0065l":"dear"}`, "model", "said twice"},
		{"in another case", `{"model":"cheap","Model":"dear"}`, "model", `written as "Model"`},
		{"in letters that fold", `{"model":"m","\u017ftream":true}`, "stream", `written as "ſtream"`},
		{"a stream twice", `{"model":"m","stream":false,"stream":true}`, "stream", "said twice"},
		{"a limit twice", `{"model":"m","max_tokens":1,"max_tokens":2}`, "max_tokens", "said twice"},
		{"the newer limit twice", `{"model":"m","max_completion_tokens":1,"max_completion_tokens":2}`, "max_completion_tokens", "said twice"},
		{"n twice", `{"model":"m","n":1,"n":2}`, "n", "said twice"},
		{"options twice", `{"model":"m","stream_options":{},"stream_options":null}`, "stream_options", "said twice"},
		{"a usage twice", `{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}`, "stream_options.include_usage", "said twice"},
	} {
		t.Run(c.name, func(t *testing.T) { requireRefused(t, OpenAI, c.body, c.field, c.message) })
	}
}

func TestScanRefusesWhatIsNoRequest(t *testing.T) {
	for _, c := range []struct{ name, body, field, message string }{
		{"nothing", ``, "", "not valid JSON: an object is wanted"},
		{"an array", `[]`, "", "not valid JSON: an object is wanted"},
		{"half an object", `{"model":"m"`, "", "not valid JSON: a comma or the end is wanted"},
		{"two objects", `{"model":"m"}{}`, "", "not valid JSON: something follows the value"},
		{"a zero byte after it", "{\"model\":\"m\"}\x00", "", "not valid JSON: something follows the value"},
		{"a byte order mark", "\xef\xbb\xbf{\"model\":\"m\"}", "", "not valid JSON: an object is wanted"},
		{"a trailing comma", `{"model":"m",}`, "", "not valid JSON: the name of a member is wanted"},
		{"a comment", `{"model":"m"/**/}`, "", "not valid JSON: a comma or the end is wanted"},
		{"a line break in a string", "{\"model\":\"m\",\"x\":\"a\nb\"}", "", "not valid JSON: a control character in a string"},
		{"an escape that there is not", `{"model":"m","x":"\x"}`, "", "not valid JSON: an escape that there is not"},
		{"half an escape", `{"model":"m","x":"\u00"}`, "", "not valid JSON: an escape that there is not"},
		{"a number that there is not", `{"model":"m","x":01}`, "", "not valid JSON: a comma or the end is wanted"},
		{"bytes that are not UTF-8", "{\"model\":\"m\",\"x\":\"\xff\"}", "", "not valid UTF-8"},
		{"a name that is not UTF-8", "{\"model\":\"\xff\"}", "model", "characters that no name has"},
		{"half a surrogate pair", `{"model":"\ud800"}`, "model", "characters that no name has"},
		{"a name of two lines", `{"model":"a\nb"}`, "model", "characters that no name has"},
		{"no model", `{"messages":[]}`, "model", "missing"},
		{"an empty model", `{"model":""}`, "model", "empty"},
		{"a null model", `{"model":null}`, "model", "not a string"},
		{"a long model", `{"model":"` + strings.Repeat("m", 257) + `"}`, "model", "longer than 256 bytes"},
		{"a stream in words", `{"model":"m","stream":"true"}`, "stream", "neither true nor false"},
		{"a limit of 0", `{"model":"m","max_tokens":0}`, "max_tokens", "not a whole number above 0, or too large"},
		{"a limit below 0", `{"model":"m","max_tokens":-1}`, "max_tokens", "not a whole number above 0, or too large"},
		{"a broken limit", `{"model":"m","max_tokens":1.5}`, "max_tokens", "not a whole number above 0, or too large"},
		{"a limit with an exponent", `{"model":"m","max_tokens":1e3}`, "max_tokens", "not a whole number above 0, or too large"},
		{"a limit that wraps around", `{"model":"m","max_tokens":18446744073709551617}`, "max_tokens", "not a whole number above 0, or too large"},
		{"the newer limit of 0", `{"model":"m","max_completion_tokens":0}`, "max_completion_tokens", "not a whole number above 0, or too large"},
		{"no choices", `{"model":"m","n":0}`, "n", "not a whole number above 0, or too large"},
		{"a million choices", `{"model":"m","n":1000000}`, "n", "not a whole number above 0, or too large"},
		{"options that are none", `{"model":"m","stream_options":true}`, "stream_options", "not an object"},
		{"a usage in words", `{"model":"m","stream_options":{"include_usage":"yes"}}`, "stream_options.include_usage", "neither true nor false"},
		{"nested too deep", `{"model":"m","x":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`, "", "not valid JSON: nested too deep"},
	} {
		t.Run(c.name, func(t *testing.T) { requireRefused(t, OpenAI, c.body, c.field, c.message) })
	}
	_, err := Scan(OpenAI, []byte(`{"model":"m","x":`+strings.Repeat("[", 511)+strings.Repeat("]", 511)+`}`))
	require.NoError(t, err, "as deep as it may be")
	_, err = Scan(OpenAI, []byte(`{"model":"m","x":[`+strings.Repeat("[],{},", 600)+`0]}`))
	require.NoError(t, err, "wide is not deep")
}

func TestARefusalNamesThePlace(t *testing.T) {
	_, err := Scan(OpenAI, []byte(`{"model":"m","n":1.5}`))
	require.EqualError(t, err, "n: not a whole number above 0, or too large (at byte 17)")
	_, err = Scan(OpenAI, []byte(`{"model":"m","n":1.}`))
	require.EqualError(t, err, "body: not valid JSON: a digit is wanted (at byte 19)")
	_, err = Scan(OpenAI, []byte("{\"model\":\"m\",\"é\":\"\xc3\"}"))
	require.EqualError(t, err, "body: not valid UTF-8 (at byte 19)")
}

func requireRefused(t *testing.T, p Protocol, body, field, message string) {
	t.Helper()
	_, err := Scan(p, []byte(body))
	var refused *RequestError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, field, refused.Field)
	require.Equal(t, message, refused.Message)
}

// FuzzScan holds Scan to encoding/json: what one accepts, and finds, the other does.
func FuzzScan(f *testing.F) {
	for _, body := range []string{
		`{"model":"gpt-5.2","messages":[{"role":"user","content":"hé\u00e9\"\\"}],"stream":true,"max_completion_tokens":70,"n":3}`,
		`{"model":"m","max_tokens":null,"stream_options":{"include_usage":true},"temperature":-0.5e-10}`,
		`{"model":"a","mod\u0065l":"b"}`, `{"model":"m","x":[1,2,{"y":[]}],"z":"` + strings.Repeat("long ", 50) + `"}`,
		" {\t\"model\":\r\n\"m\"}", `{"model":"m"}x`, `{"Model":"m"}`, `{"model":"\ud83d\ude00"}`, "{\"model\":\"\x80\"}",
	} {
		f.Add(uint8(OpenAI), []byte(body))
		f.Add(uint8(Anthropic), []byte(body))
	}
	f.Fuzz(func(t *testing.T, protocol uint8, body []byte) {
		p := Protocol(protocol%2 + 1)
		r, err := Scan(p, body)
		s := scanner{data: body}
		s.skip()
		s.end()
		if s.wrong != "nested too deep" {
			require.Equal(t, json.Valid(body), s.wrong == "", "%s", s.wrong)
		}
		if err != nil {
			return
		}
		var want struct {
			Model     string `json:"model"`
			Stream    bool   `json:"stream"`
			MaxTokens *int64 `json:"max_tokens"`
		}
		require.NoError(t, json.Unmarshal(body, &want))
		require.Equal(t, want.Model, r.Model)
		require.Equal(t, want.Stream, r.Stream)
		if p == Anthropic && want.MaxTokens != nil {
			require.Equal(t, *want.MaxTokens, r.MaxTokens)
		}
		changed := r.Rewrite(nil, Changes{Model: "é\"", MaxTokens: 1, AskUsage: true})
		again, err := Scan(p, changed)
		require.NoError(t, err)
		require.Equal(t, `é"`, again.Model)
		require.EqualValues(t, 1, again.MaxTokens)
		require.Equal(t, p == OpenAI, again.IncludeUsage || p == Anthropic && r.IncludeUsage)
		require.True(t, bytes.Equal(body, r.Rewrite(nil, Changes{})))
	})
}

func TestTheScannerAcceptsWhatEncodingJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := []byte(drawValue(t, 4))
		// Half of the time, something is wrong with it, or may be.
		if rapid.Bool().Draw(t, "broken") && len(body) > 0 {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				body = append(body[:at:at], body[at+1:]...)
			case 1:
				body[at] = rapid.Byte().Draw(t, "byte")
			case 2:
				body = body[:at]
			}
		}
		s := scanner{data: body}
		s.skip()
		s.end()
		require.Equal(t, json.Valid(body), s.wrong == "", "%q: %s at %d", body, s.wrong, s.at)
	})
}
