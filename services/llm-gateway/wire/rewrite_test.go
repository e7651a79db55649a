package wire

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRewriteChangesWhatMustChange(t *testing.T) {
	for _, c := range []struct {
		name    string
		p       Protocol
		body    string
		changes Changes
		want    string
	}{
		{"nothing", OpenAI, `{ "model" : "m" }`, Changes{}, `{ "model" : "m" }`},
		{"the same name, whatever its escapes", OpenAI, `{"model":"\u006d"}`, Changes{Model: "m"}, `{"model":"\u006d"}`},
		{"the name", OpenAI, `{"a":1, "model" : "m" ,"b":2}`, Changes{Model: `x"y`}, `{"a":1, "model" : "x\"y" ,"b":2}`},
		{"a limit that is too high", Anthropic, `{"model":"m","max_tokens": 4096 }`, Changes{MaxTokens: 100}, `{"model":"m","max_tokens": 100 }`},
		{"a limit that is low enough", Anthropic, `{"model":"m","max_tokens":50}`, Changes{MaxTokens: 100}, `{"model":"m","max_tokens":50}`},
		{"no limit", Anthropic, `{"model":"m","x":1}`, Changes{MaxTokens: 100, MaxTokensField: "max_completion_tokens"}, `{"model":"m","max_tokens":100,"x":1}`},
		{"no limit, openai", OpenAI, `{"x":1,"model":"m"}`, Changes{MaxTokens: 100}, `{"x":1,"model":"m","max_completion_tokens":100}`},
		{"no limit, for a server with the older name", OpenAI, `{"model":"m"}`, Changes{MaxTokens: 100, MaxTokensField: "max_tokens"}, `{"model":"m","max_tokens":100}`},
		{"a null limit", OpenAI, `{"max_completion_tokens":null,"model":"m"}`, Changes{MaxTokens: 100}, `{"max_completion_tokens":100,"model":"m"}`},
		{"a null limit of the other name", OpenAI, `{"max_tokens":null,"model":"m"}`, Changes{MaxTokens: 100}, `{"max_tokens":null,"model":"m","max_completion_tokens":100}`},
		{"both limits", OpenAI, `{"max_tokens":300,"max_completion_tokens":200,"model":"m"}`, Changes{MaxTokens: 100}, `{"max_tokens":100,"max_completion_tokens":100,"model":"m"}`},
		{"the older name where the newer is read", OpenAI, `{"model":"m","max_tokens":300}`, Changes{MaxTokens: 100, MaxTokensField: "max_completion_tokens"}, `{"model":"m","max_tokens":100}`},
		{"the newer name where it may not be known", OpenAI, `{"model":"m","max_completion_tokens":30}`, Changes{MaxTokens: 100, MaxTokensField: "max_tokens"}, `{"model":"m","max_tokens":30,"max_completion_tokens":30}`},
		{"no options", OpenAI, `{"model":"m","stream":true}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage":true},"stream":true}`},
		{"null options", OpenAI, `{"model":"m","stream_options":null}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage":true}}`},
		{"empty options", OpenAI, `{"model":"m","stream_options":{ }}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage":true }}`},
		{"other options", OpenAI, `{"model":"m","stream_options":{ "include_obfuscation":false}}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage":true, "include_obfuscation":false}}`},
		{"no usage", OpenAI, `{"model":"m","stream_options":{"include_usage": false}}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage": true}}`},
		{"null usage", OpenAI, `{"model":"m","stream_options":{"include_usage":null}}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage":true}}`},
		{"a usage that is asked for", OpenAI, `{"model":"m","stream_options":{"include_usage":true}}`, Changes{AskUsage: true}, `{"model":"m","stream_options":{"include_usage":true}}`},
		{"a usage that is always there", Anthropic, `{"model":"m"}`, Changes{AskUsage: true}, `{"model":"m"}`},
		{
			"all at once", OpenAI, `{"stream_options":null,"max_tokens":300,"model":"m","stream":true}`,
			Changes{Model: "x", MaxTokens: 100, AskUsage: true},
			`{"stream_options":{"include_usage":true},"max_tokens":100,"model":"x","stream":true}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Scan(c.p, []byte(c.body))
			require.NoError(t, err)
			require.Equal(t, "kept"+c.want, string(r.Rewrite([]byte("kept"), c.changes)))
			require.Equal(t, c.body, string(r.Body), "the client's body is untouched")
		})
	}
}

// The bodies are put together from pieces, and what is to come out as well, so that
// nothing here knows how Scan finds them.
func TestRewriteLeavesEveryOtherByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := Changes{
			Model:     rapid.SampledFrom([]string{"", "other", "nämé\n"}).Draw(t, "new model"),
			MaxTokens: rapid.Int64Range(0, 50).Draw(t, "new limit"),
			AskUsage:  rapid.Bool().Draw(t, "ask usage"),
		}
		// A member is its bytes before and after.
		type piece struct{ before, after string }
		pieces := []piece{}
		model := func() piece {
			name := rapid.SampledFrom([]string{`"a"`, `"\u0061"`, `"gpt-5.2"`}).Draw(t, "model")
			after := name
			if changes.Model != "" {
				after = quote(changes.Model)
			}
			lead := drawSpace(t) + `"model"` + drawSpace(t) + ":" + drawSpace(t)
			return piece{lead + name, lead + after}
		}()
		added := ""
		if n := rapid.Int64Range(0, 100).Draw(t, "limit"); n > 0 {
			lead := `"max_completion_tokens":` + drawSpace(t)
			after := n
			if changes.MaxTokens > 0 {
				after = min(n, changes.MaxTokens)
			}
			pieces = append(pieces, piece{lead + strconv.FormatInt(n, 10), lead + strconv.FormatInt(after, 10)})
		} else if changes.MaxTokens > 0 {
			added += fmt.Sprintf(`,"max_completion_tokens":%d`, changes.MaxTokens)
		}
		if rapid.Bool().Draw(t, "options") {
			lead, tail := `"stream_options":`+drawSpace(t)+`{`, drawSpace(t)+`}`
			after := ""
			if changes.AskUsage {
				after = `"include_usage":true`
			}
			pieces = append(pieces, piece{lead + tail, lead + after + tail})
		} else if changes.AskUsage {
			added += `,"stream_options":{"include_usage":true}`
		}
		model.after += added
		pieces = append(pieces, model)
		for i := range rapid.IntRange(0, 5).Draw(t, "others") {
			other := drawSpace(t) + fmt.Sprintf(`"x%d":`, i) + drawValue(t, 3) + drawSpace(t)
			pieces = append(pieces, piece{other, other})
		}
		var before, after []string
		for _, p := range rapid.Permutation(pieces).Draw(t, "order") {
			before, after = append(before, p.before), append(after, p.after)
		}
		body, want := "{"+strings.Join(before, ",")+"}", "{"+strings.Join(after, ",")+"}"

		r, err := Scan(OpenAI, []byte(body))
		require.NoError(t, err)
		require.Equal(t, want, string(r.Rewrite(nil, changes)))
	})
}

func drawSpace(t *rapid.T) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune(" \n\t\r")), 0, 2, -1).Draw(t, "space")
}

// drawValue is JSON as no encoder would write it.
func drawValue(t *rapid.T, depth int) string {
	kinds := 4
	if depth == 0 {
		kinds = 2
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "literal")
	case 1:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
	case 2:
		return drawString(t)
	case 3:
		var items []string
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			items = append(items, drawSpace(t)+drawValue(t, depth-1)+drawSpace(t))
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		var items []string
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			items = append(items, drawSpace(t)+drawString(t)+drawSpace(t)+":"+drawValue(t, depth-1))
		}
		return "{" + strings.Join(items, ",") + "}"
	}
}

func drawString(t *rapid.T) string {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{`\"`, `\\`, `\/`, `\n`, `\u00e9`, `\ud83d\ude00`, `\uD800`, `{`, `}`, `[`, `]`, `,`, `:`, "model", "é", "😀", "a long piece of plain text"}),
		rapid.StringOfN(rapid.RuneFrom([]rune("abc 0\x7fé")), 0, 20, -1),
	)
	return `"` + strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(t, "string"), "") + `"`
}
