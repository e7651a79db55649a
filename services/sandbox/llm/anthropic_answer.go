package llm

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type anthropicAnswer struct {
	ID           string             `json:"id"`
	Type         string             `json:"type"`
	Role         string             `json:"role"`
	Model        string             `json:"model"`
	Content      []anthropicContent `json:"content"`
	StopReason   *string            `json:"stop_reason"`
	StopSequence *string            `json:"stop_sequence"`
	Usage        *anthropicUsage    `json:"usage,omitempty"`
}

// anthropicContent is one block of an answer: text, thinking, or the use of a
// tool.
type anthropicContent struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature *string         `json:"signature,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
}

type anthropicUsage struct {
	InputTokens              int64                   `json:"input_tokens"`
	CacheCreationInputTokens int64                   `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     int64                   `json:"cache_read_input_tokens"`
	CacheCreation            *anthropicCacheCreation `json:"cache_creation,omitempty"`
	OutputTokens             int64                   `json:"output_tokens"`
	OutputTokensDetails      *anthropicOutputDetails `json:"output_tokens_details,omitempty"`
	ServiceTier              string                  `json:"service_tier,omitempty"`
}

type anthropicCacheCreation struct {
	FiveMinutes int64 `json:"ephemeral_5m_input_tokens"`
	Hour        int64 `json:"ephemeral_1h_input_tokens"`
}

type anthropicOutputDetails struct {
	ThinkingTokens int64 `json:"thinking_tokens"`
}

// usage reports a usage: input_tokens has neither what was read from the cache
// nor what was written to it.
func (anthropic) usage(u Usage) *anthropicUsage {
	return &anthropicUsage{
		InputTokens: u.Input, CacheReadInputTokens: u.CacheRead, CacheCreationInputTokens: u.CacheWrite + u.CacheWrite1h,
		CacheCreation: &anthropicCacheCreation{u.CacheWrite, u.CacheWrite1h},
		OutputTokens:  u.Output, OutputTokensDetails: &anthropicOutputDetails{u.Reasoning}, ServiceTier: "standard",
	}
}

// signature stands where a provider signs what was thought.
const signature = "c2FuZGJveA=="

func (a anthropic) answer(x *exchange) any {
	c := &x.answer.choices[0]
	reason := a.reason(c.finish)
	message := anthropicAnswer{
		ID: x.id, Type: "message", Role: "assistant", Model: x.request.model, Content: []anthropicContent{},
		StopReason: &reason, StopSequence: orNull(c.stopped),
	}
	if len(x.answer.thoughts) > 0 {
		thought, signed := strings.Join(x.answer.thoughts, ""), signature
		message.Content = append(message.Content, anthropicContent{Type: "thinking", Thinking: &thought, Signature: &signed})
	}
	if len(c.text) > 0 {
		text := strings.Join(c.text, "")
		message.Content = append(message.Content, anthropicContent{Type: "text", Text: &text})
	}
	for _, k := range c.calls {
		input := json.RawMessage(strings.Join(k.arguments, ""))
		if !json.Valid(input) {
			input = json.RawMessage("{}") // cut short
		}
		message.Content = append(message.Content, anthropicContent{Type: "tool_use", ID: "toolu_" + k.id, Name: k.name, Input: input})
	}
	if !x.hideUsage {
		message.Usage = a.usage(x.usage)
	}
	return message
}

func (anthropic) reason(f finish) string {
	switch f {
	case finishLength:
		return "max_tokens"
	case finishStop:
		return "stop_sequence"
	case finishCalls:
		return "tool_use"
	case finishRefused:
		return "refusal"
	default:
		return "end_turn"
	}
}

func (anthropic) requestIDHeader() string { return "Request-Id" }

func (anthropic) rateHeaders(h http.Header, l remaining) {
	reset := l.reset.UTC().Format(time.RFC3339)
	for _, of := range []struct {
		name       string
		limit, now int64
	}{
		{"Requests", l.limit.RequestsPerMinute, l.requests},
		{"Tokens", l.limit.TokensPerMinute, l.tokens},
		{"Input-Tokens", l.limit.TokensPerMinute, l.tokens},
	} {
		h.Set("Anthropic-Ratelimit-"+of.name+"-Limit", strconv.FormatInt(of.limit, 10))
		h.Set("Anthropic-Ratelimit-"+of.name+"-Remaining", strconv.FormatInt(of.now, 10))
		h.Set("Anthropic-Ratelimit-"+of.name+"-Reset", reset)
	}
}

func (anthropic) problem(p *Problem, requestID string) any {
	body := anthropicError{"error", anthropicErrorBody{Type: p.typeOf(anthropicTypes, "api_error"), Message: p.Message}, requestID}
	if p.Code != "" {
		body.Error.Details = &anthropicErrorDetails{p.Code}
	}
	return body
}

type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

type anthropicModels struct {
	Data    []anthropicModel `json:"data"`
	HasMore bool             `json:"has_more"`
	FirstID *string          `json:"first_id"`
	LastID  *string          `json:"last_id"`
}

func (anthropic) describe(m Model) anthropicModel {
	return anthropicModel{"model", m.Name, m.display, modelsCreated.Format(time.RFC3339)}
}

func (a anthropic) model(m Model) any { return a.describe(m) }

func (a anthropic) models(served []Model) any {
	list := anthropicModels{Data: []anthropicModel{}}
	for _, m := range served {
		list.Data = append(list.Data, a.describe(m))
	}
	list.FirstID, list.LastID = orNull(list.Data[0].ID), orNull(list.Data[len(list.Data)-1].ID)
	return list
}
