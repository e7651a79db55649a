package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"
)

func chat(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
}

func weather() []openai.ChatCompletionToolUnionParam {
	return []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
		Name: "weather", Description: openai.String("what the weather is like"),
		Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
	})}
}

func TestOpenAIAnswers(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, sent := to.newOpenAI()
		answer, err := client.Chat.Completions.New(t.Context(), chat("gpt-sandbox", prompt(t, "[[tokens 20]]")))
		require.NoError(t, err)
		require.Len(t, strings.Fields(answer.Choices[0].Message.Content), 20)
		require.Equal(t, "stop", answer.Choices[0].FinishReason)
		require.Equal(t, "gpt-sandbox", answer.Model)
		require.Equal(t, int64(20), answer.Usage.CompletionTokens)
		require.Equal(t, answer.Usage.PromptTokens+20, answer.Usage.TotalTokens)
		require.Equal(t, int64(1), sent.n.Load())

		limited := chat("gpt-sandbox", prompt(t, "[[tokens 20]]"))
		limited.MaxCompletionTokens = openai.Int(5)
		answer, err = client.Chat.Completions.New(t.Context(), limited)
		require.NoError(t, err)
		require.Equal(t, "length", answer.Choices[0].FinishReason)
	})
}

func TestOpenAIStreams(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newOpenAI()
		for _, usage := range []bool{false, true} {
			ask := chat("gpt-sandbox", prompt(t, "[[tokens 50]]"))
			if usage {
				ask.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
			}
			stream := client.Chat.Completions.NewStreaming(t.Context(), ask)
			var whole openai.ChatCompletionAccumulator
			finished, counted := 0, 0
			for stream.Next() {
				chunk := stream.Current()
				require.True(t, whole.AddChunk(chunk))
				if len(chunk.Choices) == 0 {
					counted++
				}
				if _, ok := whole.JustFinishedContent(); ok {
					finished++
				}
			}
			require.NoError(t, stream.Err())
			require.NoError(t, stream.Close())
			require.Len(t, strings.Fields(whole.Choices[0].Message.Content), 50)
			require.Equal(t, "stop", whole.Choices[0].FinishReason)
			require.Equal(t, "assistant", string(whole.Choices[0].Message.Role))
			require.Equal(t, 1, finished)
			require.Equal(t, usage, counted == 1, "the usage comes where it was asked for, and nowhere else")
			require.Equal(t, usage, whole.Usage.CompletionTokens == 50)
		}
	})
}

func TestOpenAICallsAToolAndAnswersItsResult(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newOpenAI()
		ask := chat("gpt-sandbox", prompt(t, `[[call weather {"city":"Bergen in the rain"}]]`))
		ask.Tools = weather()
		stream := client.Chat.Completions.NewStreaming(t.Context(), ask)
		var whole openai.ChatCompletionAccumulator
		var put []openai.FinishedChatCompletionToolCall
		fragments := 0
		for stream.Next() {
			require.True(t, whole.AddChunk(stream.Current()))
			for _, c := range stream.Current().Choices {
				fragments += len(c.Delta.ToolCalls)
			}
			if call, ok := whole.JustFinishedToolCall(); ok {
				put = append(put, call)
			}
		}
		require.NoError(t, stream.Err())
		require.Greater(t, fragments, 3, "its arguments come in pieces")
		require.Len(t, put, 1)
		require.Equal(t, "weather", put[0].Name)
		require.JSONEq(t, `{"city":"Bergen in the rain"}`, put[0].Arguments)
		require.Equal(t, "tool_calls", whole.Choices[0].FinishReason)

		plain, err := client.Chat.Completions.New(t.Context(), ask)
		require.NoError(t, err)
		require.JSONEq(t, put[0].Arguments, plain.Choices[0].Message.ToolCalls[0].Function.Arguments)

		ask.Messages = append(ask.Messages, plain.Choices[0].Message.ToParam(), openai.ToolMessage("rain", plain.Choices[0].Message.ToolCalls[0].ID))
		answer, err := client.Chat.Completions.New(t.Context(), ask)
		require.NoError(t, err)
		require.NotEmpty(t, answer.Choices[0].Message.Content)
	})
}

func TestOpenAIAnswersWithStructure(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newOpenAI()
		ask := chat("gpt-sandbox", prompt(t, "a boat"))
		ask.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "boat", Strict: openai.Bool(true), Schema: map[string]any{
				"type": "object", "required": []string{"name"}, "additionalProperties": false,
				"properties": map[string]any{"name": map[string]any{"type": "string"}},
			},
		}}
		answer, err := client.Chat.Completions.New(t.Context(), ask)
		require.NoError(t, err)
		var boat struct{ Name string }
		require.NoError(t, json.Unmarshal([]byte(answer.Choices[0].Message.Content), &boat))
		require.NotEmpty(t, boat.Name)
	})
}

func TestOpenAIReportsReasoningAndCachedTokens(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newOpenAI()
		ask := chat("sandbox-reasoning", prompt(t, "[[tokens 5]] "+strings.Repeat("wave ", 200)))
		first, err := client.Chat.Completions.New(t.Context(), ask)
		require.NoError(t, err)
		require.Equal(t, first.Usage.CompletionTokens-5, first.Usage.CompletionTokensDetails.ReasoningTokens)
		require.Positive(t, first.Usage.CompletionTokensDetails.ReasoningTokens)
		again, err := client.Chat.Completions.New(t.Context(), ask)
		require.NoError(t, err)
		require.Positive(t, again.Usage.PromptTokensDetails.CachedTokens)
		require.Equal(t, first.Usage.PromptTokens, again.Usage.PromptTokens)
	})
}

func TestOpenAIErrorsAreTyped(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		for name, test := range map[string]struct {
			model, text, key string
			status           int
			code             string
			ours             bool // not the client's: a gateway has another key, or says that it has none
		}{
			"a wrong key":      {model: "gpt-sandbox", key: "nobody's", status: 401, code: "invalid_api_key"},
			"no such model":    {model: "no-such-model", status: 404, code: "model_not_found"},
			"a wrong request":  {model: "gpt-sandbox", text: "[[fault status; status=400; code=bad_thing]]", status: 400, code: "bad_thing"},
			"out of its quota": {model: "gpt-sandbox", text: "[[fault status; status=429; code=insufficient_quota; type=insufficient_quota; x-should-retry=false]]", status: 429, code: "insufficient_quota", ours: true},
		} {
			t.Run(name, func(t *testing.T) {
				options := []openaioption.RequestOption{}
				if test.ours && to.absorbs {
					client, _ := targets(t)[1].newOpenAI() // it rests its key for minutes
					_, err := client.Chat.Completions.New(t.Context(), chat(test.model, prompt(t, test.text)))
					typed, ok := errors.AsType[*openai.Error](err)
					require.True(t, ok, "%v", err)
					require.NotEqual(t, test.code, typed.Code)
					require.GreaterOrEqual(t, typed.StatusCode, 429)
					return
				}
				if test.key != "" {
					options = append(options, openaioption.WithAPIKey(test.key))
				}
				client, sent := to.newOpenAI(options...)
				_, err := client.Chat.Completions.New(t.Context(), chat(test.model, prompt(t, test.text)))
				typed, ok := errors.AsType[*openai.Error](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, test.status, typed.StatusCode)
				require.Equal(t, test.code, typed.Code)
				require.NotEmpty(t, typed.Message)
				require.NotEmpty(t, typed.Type)
				require.NotEmpty(t, typed.Response.Header.Get("X-Request-Id"))
				require.Equal(t, int64(1), sent.n.Load(), "a retry would not help")

				stream := client.Chat.Completions.NewStreaming(t.Context(), chat(test.model, prompt(t, test.text)))
				require.False(t, stream.Next())
				typed, ok = errors.AsType[*openai.Error](stream.Err())
				require.True(t, ok, "%v", stream.Err())
				require.Equal(t, test.status, typed.StatusCode)
			})
		}
	})
}

func TestOpenAIRetriesWhatARetryHeals(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		for _, fault := range []string{
			"status; status=503; retry-after-ms=1", "status; status=429; code=rate_limit_exceeded; retry-after-ms=1",
			"status; status=409; x-should-retry=true; retry-after-ms=1", "drop",
		} {
			client, sent := to.newOpenAI()
			answer, err := client.Chat.Completions.New(t.Context(), chat("gpt-sandbox", prompt(t, "[[fault "+fault+"; sends=1]]")))
			require.NoError(t, err, fault)
			require.NotEmpty(t, answer.Choices[0].Message.Content)
			if !to.absorbs {
				require.Equal(t, int64(2), sent.n.Load(), fault)
			}
		}
	})
}

// TestOpenAIStreamsThatBreakAreErrors: never a shorter answer that looks whole.
func TestOpenAIStreamsThatBreakAreErrors(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		for _, fault := range []string{"error; chunks=5; code=server_error", "cut; chunks=5", "cut; chunks=5; end=reset"} {
			client, _ := to.newOpenAI()
			stream := client.Chat.Completions.NewStreaming(t.Context(), chat("gpt-sandbox", prompt(t, "[[tokens 20]][[fault "+fault+"]]")))
			said := ""
			for stream.Next() {
				for _, c := range stream.Current().Choices {
					said += c.Delta.Content
				}
			}
			require.Error(t, stream.Err(), fault)
			require.Len(t, strings.Fields(said), 5, fault)
		}
	})
}

func TestOpenAIStreamsCanBeLeft(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newOpenAI()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		stream := client.Chat.Completions.NewStreaming(ctx, chat("gpt-sandbox", prompt(t, "[[tokens 1000]][[fault stall; chunks=2; delay=1h]]")))
		for range 2 {
			require.True(t, stream.Next(), "%v", stream.Err())
		}
		leave()
		for stream.Next() {
		}
		require.ErrorIs(t, stream.Err(), context.Canceled)
	})
}

func TestOpenAIListsModels(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newOpenAI()
		var names []string
		models := client.Models.ListAutoPaging(t.Context())
		for models.Next() {
			names = append(names, models.Current().ID)
		}
		require.NoError(t, models.Err())
		require.Contains(t, names, "gpt-sandbox")
		require.Contains(t, names, "sandbox-reasoning")
	})
}
