package sdk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/stretchr/testify/require"
)

func message(model, text string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: model, MaxTokens: 1000,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))},
	}
}

func forecast() []anthropic.ToolUnionParam {
	return []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
		Name: "weather", Description: anthropic.String("what the weather is like"),
		InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]any{"type": "string"}}},
	}}}
}

func TestAnthropicAnswers(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, sent := to.newAnthropic()
		answer, err := client.Messages.New(t.Context(), message("claude-sandbox", prompt(t, "[[tokens 20]]")))
		require.NoError(t, err)
		require.Len(t, strings.Fields(answer.Content[0].Text), 20)
		require.Equal(t, anthropic.StopReasonEndTurn, answer.StopReason)
		require.Equal(t, "claude-sandbox", answer.Model)
		require.Equal(t, int64(20), answer.Usage.OutputTokens)
		require.Positive(t, answer.Usage.InputTokens)
		require.Equal(t, int64(1), sent.n.Load())

		limited := message("claude-sandbox", prompt(t, "[[tokens 20]]"))
		limited.MaxTokens = 5
		answer, err = client.Messages.New(t.Context(), limited)
		require.NoError(t, err)
		require.Equal(t, anthropic.StopReasonMaxTokens, answer.StopReason)
	})
}

// together reads a stream to its end and puts it together.
func together(t *testing.T, client anthropic.Client, ask anthropic.MessageNewParams) (whole anthropic.Message, deltas int) {
	t.Helper()
	stream := client.Messages.NewStreaming(t.Context(), ask)
	for stream.Next() {
		require.NoError(t, whole.Accumulate(stream.Current()))
		if stream.Current().Type == "content_block_delta" {
			deltas++
		}
	}
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	return whole, deltas
}

func TestAnthropicStreams(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		whole, deltas := together(t, client, message("claude-sandbox", prompt(t, "[[tokens 50]]")))
		require.Len(t, strings.Fields(whole.Content[0].Text), 50)
		require.Equal(t, 50, deltas)
		require.Equal(t, anthropic.StopReasonEndTurn, whole.StopReason)
		require.Equal(t, int64(50), whole.Usage.OutputTokens)
		require.Positive(t, whole.Usage.InputTokens)
	})
}

func TestAnthropicThinks(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		ask := message("sandbox-reasoning", prompt(t, "[[tokens 5]]"))
		ask.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
		ask.MaxTokens = 2000
		whole, _ := together(t, client, ask)
		require.Equal(t, "thinking", whole.Content[0].Type)
		require.NotEmpty(t, whole.Content[0].Thinking)
		require.NotEmpty(t, whole.Content[0].Signature)
		require.Equal(t, "text", whole.Content[1].Type)
		plain, err := client.Messages.New(t.Context(), ask)
		require.NoError(t, err)
		require.Equal(t, whole.Content[0].Thinking, plain.Content[0].Thinking)
		require.Equal(t, plain.Usage.OutputTokens-5, plain.Usage.OutputTokensDetails.ThinkingTokens)
	})
}

func TestAnthropicCallsAToolAndAnswersItsResult(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		ask := message("claude-sandbox", prompt(t, `[[call weather {"city":"Bergen in the rain"}]]`))
		ask.Tools = forecast()
		whole, deltas := together(t, client, ask)
		require.Greater(t, deltas, 3, "its arguments come in pieces")
		require.Equal(t, anthropic.StopReasonToolUse, whole.StopReason)
		require.Equal(t, "weather", whole.Content[0].Name)
		require.JSONEq(t, `{"city":"Bergen in the rain"}`, string(whole.Content[0].Input))
		plain, err := client.Messages.New(t.Context(), ask)
		require.NoError(t, err)
		require.JSONEq(t, string(whole.Content[0].Input), string(plain.Content[0].Input))

		ask.Messages = append(ask.Messages, whole.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock(whole.Content[0].ID, "rain", false)))
		answer, err := client.Messages.New(t.Context(), ask)
		require.NoError(t, err)
		require.NotEmpty(t, answer.Content[0].Text)
	})
}

func TestAnthropicReportsWhatItCached(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		ask := message("claude-sandbox", "hello")
		ask.System = []anthropic.TextBlockParam{{
			Text:         prompt(t, strings.Repeat("wave ", 200)),
			CacheControl: anthropic.CacheControlEphemeralParam{TTL: anthropic.CacheControlEphemeralTTLTTL1h},
		}}
		first, err := client.Messages.New(t.Context(), ask)
		require.NoError(t, err)
		require.Positive(t, first.Usage.CacheCreation.Ephemeral1hInputTokens)
		require.Equal(t, first.Usage.CacheCreationInputTokens, first.Usage.CacheCreation.Ephemeral1hInputTokens)
		again, err := client.Messages.New(t.Context(), ask)
		require.NoError(t, err)
		require.Equal(t, first.Usage.CacheCreationInputTokens, again.Usage.CacheReadInputTokens)
		require.Equal(t, first.Usage.InputTokens, again.Usage.InputTokens)
	})
}

func TestAnthropicErrorsAreTyped(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		for name, test := range map[string]struct {
			model, text, key string
			status           int
			kind             anthropic.ErrorType
			ours             bool // not the client's: a gateway has another key, or says that it has none
		}{
			"a wrong key":     {model: "claude-sandbox", key: "nobody's", status: 401, kind: anthropic.ErrorTypeAuthenticationError},
			"no such model":   {model: "no-such-model", status: 404, kind: anthropic.ErrorTypeNotFoundError},
			"a wrong request": {model: "claude-sandbox", text: "[[fault status; status=400]]", status: 400, kind: anthropic.ErrorTypeInvalidRequestError},
			"out of credit":   {model: "claude-sandbox", text: "[[fault status; status=402]]", status: 402, kind: anthropic.ErrorTypeBillingError, ours: true},
		} {
			t.Run(name, func(t *testing.T) {
				options := []anthropicoption.RequestOption{}
				if test.ours && to.absorbs {
					client, _ := targets(t)[1].newAnthropic() // it rests its key for minutes
					_, err := client.Messages.New(t.Context(), message(test.model, prompt(t, test.text)))
					typed, ok := errors.AsType[*anthropic.Error](err)
					require.True(t, ok, "%v", err)
					require.NotEqual(t, test.kind, typed.Type())
					require.GreaterOrEqual(t, typed.StatusCode, 429)
					return
				}
				if test.key != "" {
					options = append(options, anthropicoption.WithAPIKey(test.key))
				}
				client, sent := to.newAnthropic(options...)
				_, err := client.Messages.New(t.Context(), message(test.model, prompt(t, test.text)))
				typed, ok := errors.AsType[*anthropic.Error](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, test.status, typed.StatusCode)
				require.Equal(t, test.kind, typed.Type())
				require.NotEmpty(t, typed.RequestID)
				require.Equal(t, int64(1), sent.n.Load(), "a retry would not help")

				stream := client.Messages.NewStreaming(t.Context(), message(test.model, prompt(t, test.text)))
				require.False(t, stream.Next())
				typed, ok = errors.AsType[*anthropic.Error](stream.Err())
				require.True(t, ok, "%v", stream.Err())
				require.Equal(t, test.kind, typed.Type())
			})
		}
	})
}

func TestAnthropicRetriesWhatARetryHeals(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		for _, fault := range []string{
			"status; status=529; retry-after-ms=1", "status; status=429; retry-after-ms=1", "status; status=500; retry-after-ms=1", "drop",
		} {
			client, sent := to.newAnthropic()
			answer, err := client.Messages.New(t.Context(), message("claude-sandbox", prompt(t, "[[fault "+fault+"; sends=1]]")))
			require.NoError(t, err, fault)
			require.NotEmpty(t, answer.Content[0].Text)
			if !to.absorbs {
				require.Equal(t, int64(2), sent.n.Load(), fault)
			}
		}
	})
}

// TestAnthropicStreamsThatBreakAreErrors: never a shorter answer that looks whole.
func TestAnthropicStreamsThatBreakAreErrors(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		for _, fault := range []string{"error; chunks=5; status=529", "cut; chunks=5", "cut; chunks=5; end=reset"} {
			client, _ := to.newAnthropic()
			stream := client.Messages.NewStreaming(t.Context(), message("claude-sandbox", prompt(t, "[[tokens 20]][[fault "+fault+"]]")))
			said := ""
			for stream.Next() {
				said += stream.Current().Delta.Text
			}
			require.Error(t, stream.Err(), fault)
			require.Len(t, strings.Fields(said), 5, fault)
		}
	})
}

func TestAnthropicStreamsCanBeLeft(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		stream := client.Messages.NewStreaming(ctx, message("claude-sandbox", prompt(t, "[[tokens 1000]][[fault stall; chunks=2; delay=1h; ping=5ms]]")))
		for range 4 { // two that begin, two with content
			require.True(t, stream.Next(), "%v", stream.Err())
		}
		leave()
		for stream.Next() {
		}
		require.ErrorIs(t, stream.Err(), context.Canceled)
	})
}

func TestAnthropicCountsTokens(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		text := prompt(t, "[[tokens 5]]")
		counted, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
			Model: "claude-sandbox", Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))},
		})
		require.NoError(t, err)
		answer, err := client.Messages.New(t.Context(), message("claude-sandbox", text))
		require.NoError(t, err)
		require.Equal(t, answer.Usage.InputTokens, counted.InputTokens)
	})
}

func TestAnthropicListsModels(t *testing.T) {
	each(t, func(t *testing.T, to target) {
		client, _ := to.newAnthropic()
		var names []string
		models := client.Models.ListAutoPaging(t.Context(), anthropic.ModelListParams{})
		for models.Next() {
			names = append(names, models.Current().ID)
		}
		require.NoError(t, models.Err())
		require.Contains(t, names, "claude-sandbox")
	})
}
