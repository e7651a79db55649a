package llm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheSameRequestIsAnsweredTheSameByAnyProcess(t *testing.T) {
	first, second := start(t), start(t)
	said := func(w *world, prompt string, fields ...string) string {
		return *w.openai(OpenAI, "gpt-sandbox", prompt, fields...).Choices[0].Message.Content
	}
	require.Equal(t, said(first, "hello"), said(first, "hello"))
	require.Equal(t, said(first, "hello"), said(second, "hello"))
	require.NotEqual(t, said(first, "hello"), said(first, "goodbye"))
	require.NotEqual(t, said(first, "hello"), said(first, "hello", `"seed":7`))
	require.Equal(t, said(first, "hello", `"seed":7`), said(second, "hello", `"seed":7`))
	long := said(first, "hello [[tokens 30]]")
	require.True(t, strings.HasPrefix(long, said(second, "hello [[tokens 30]]", `"max_tokens":3`)), "a limit cuts the same answer")
}

func TestAnAnswerIsAsLongAsItIsAskedToBe(t *testing.T) {
	w := start(t)
	a := w.openai(OpenAI, "gpt-sandbox", "hello [[tokens 50]]")
	require.Equal(t, int64(50), a.Usage.CompletionTokens)
	require.Equal(t, int64(50), countTokens(*a.Choices[0].Message.Content))
	for _, field := range []string{"max_tokens", "max_completion_tokens"} {
		short := w.openai(OpenAI, "gpt-sandbox", "hello [[tokens 50]]", `"`+field+`":7`)
		require.Equal(t, "length", short.Choices[0].FinishReason)
		require.Equal(t, int64(7), short.Usage.CompletionTokens)
	}
	exact := w.openai(OpenAI, "gpt-sandbox", "hello [[tokens 50]]", `"max_tokens":50`)
	require.Equal(t, "stop", exact.Choices[0].FinishReason)
}

func TestAnAnswerEndsWhereAStopSequenceBegins(t *testing.T) {
	w := start(t)
	for _, stop := range []string{`"stop":"END"`, `"stop":["never","END"]`} {
		a := w.openai(OpenAI, "gpt-sandbox", "[[say one two ENDED]]", stop)
		require.Equal(t, "one two ", *a.Choices[0].Message.Content)
		require.Equal(t, "stop", a.Choices[0].FinishReason)
		require.Equal(t, int64(2), a.Usage.CompletionTokens)
	}
}

func TestACallIsCutByTheLimitToo(t *testing.T) {
	w := start(t)
	tools := `"tools":[{"type":"function","function":{"name":"tide"}}]`
	a := w.openai(OpenAI, "gpt-sandbox", `[[call tide {"a":"a long argument"}]]`, tools, `"max_tokens":3`)
	require.Equal(t, "length", a.Choices[0].FinishReason)
	require.Equal(t, int64(3), a.Usage.CompletionTokens)
	require.False(t, json.Valid([]byte(a.Choices[0].Message.ToolCalls[0].Function.Arguments)))
	require.Empty(t, w.openai(OpenAI, "gpt-sandbox", `hello`, strings.ReplaceAll(tools, "tide", "tidetidetide"), `"max_tokens":2`, `"tool_choice":"required"`).Choices[0].Message.ToolCalls)
}

func TestStructuredOutputFitsItsSchema(t *testing.T) {
	w := start(t)
	schema := `{"type":"object","properties":{"name":{"type":"string"},"tags":{"type":"array","items":{"enum":["a","b"]}},"deep":{"anyOf":[{"type":"object","properties":{"ok":{"type":"boolean"}}},{"type":"null"}]},"least":{"type":"integer","minimum":7},"kind":{"const":"boat"}}}`
	a := w.openai(OpenAI, "gpt-sandbox", "x", `"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":`+schema+`}}`)
	said := decode[map[string]any](t, *a.Choices[0].Message.Content)
	require.IsType(t, "", said["name"])
	require.Len(t, said["tags"], 1)
	require.IsType(t, true, said["deep"].(map[string]any)["ok"])
	require.Equal(t, 7.0, said["least"])
	require.Equal(t, "boat", said["kind"])
	c := w.anthropic("claude-sandbox", "x", `"output_config":{"format":{"type":"json_schema","schema":`+schema+`}}`)
	require.Equal(t, "boat", decode[map[string]any](t, *c.Content[0].Text)["kind"])
	require.Equal(t, "{}", *w.openai(OpenAI, "gpt-sandbox", "x", `"response_format":{"type":"json_object"}`).Choices[0].Message.Content)
	require.Equal(t, "no JSON", *w.openai(OpenAI, "gpt-sandbox", "[[say no JSON]]", `"response_format":{"type":"json_object"}`).Choices[0].Message.Content)
}

func TestWhatIsNoDirectiveIsLeftAlone(t *testing.T) {
	for _, text := range []string{"[[", "]]", "[[tokens]]", "[[tokens many]]", "[[tokens -1]]", "a [[wiki link]] b", "[[say"} {
		require.Equal(t, directives{}, readDirectives(text), text)
	}
	require.Equal(t, int64(maxAnswer), readDirectives("[[tokens 999999999]]").tokens)
}
