package llm

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

type openAIAnswer struct {
	ID                string         `json:"id"`
	Object            string         `json:"object"`
	Created           int64          `json:"created"`
	Model             string         `json:"model"`
	Choices           []openAIChoice `json:"choices"`
	Usage             *openAIUsage   `json:"usage,omitempty"`
	SystemFingerprint string         `json:"system_fingerprint,omitempty"`
}

type openAIChoice struct {
	Index        int           `json:"index"`
	Message      openAIMeaning `json:"message"`
	Logprobs     *struct{}     `json:"logprobs"`
	FinishReason string        `json:"finish_reason"`
}

// openAIMeaning is a message that the model says.
type openAIMeaning struct {
	Role      string       `json:"role"`
	Content   *string      `json:"content"`
	Refusal   *string      `json:"refusal"`
	ToolCalls []openAICall `json:"tool_calls,omitempty"`
}

type openAICall struct {
	Index    *int           `json:"index,omitempty"` // of a delta
	ID       string         `json:"id,omitempty"`
	Type     string         `json:"type,omitempty"`
	Function openAIFunction `json:"function"`
}

type openAIFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type openAIUsage struct {
	PromptTokens            int64                    `json:"prompt_tokens"`
	CompletionTokens        int64                    `json:"completion_tokens"`
	TotalTokens             int64                    `json:"total_tokens"`
	PromptTokensDetails     *openAIPromptDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionTokensDetails *openAICompletionDetails `json:"completion_tokens_details,omitempty"`
}

type openAIPromptDetails struct {
	CachedTokens int64 `json:"cached_tokens"`
}

type openAICompletionDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

// usage reports a usage: prompt_tokens has the cached ones in it. The compatible
// ones say no details, and so have none to bill.
func (o openAI) usage(u Usage) *openAIUsage {
	reported := &openAIUsage{PromptTokens: u.Prompt(), CompletionTokens: u.Output, TotalTokens: u.Prompt() + u.Output}
	if !o.compatible {
		reported.PromptTokensDetails = &openAIPromptDetails{u.CacheRead}
		reported.CompletionTokensDetails = &openAICompletionDetails{u.Reasoning}
	}
	return reported
}

func (o openAI) answer(x *exchange) any {
	a := openAIAnswer{ID: x.id, Object: "chat.completion", Created: x.created.Unix(), Model: x.request.model, SystemFingerprint: o.fingerprint()}
	for i := range x.answer.choices {
		c := &x.answer.choices[i]
		said := openAIMeaning{Role: "assistant"}
		text := strings.Join(c.text, "")
		switch {
		case c.finish == finishRefused && !o.compatible:
			said.Refusal = &text
		case len(c.calls) == 0:
			said.Content = &text
		}
		for _, k := range c.calls {
			said.ToolCalls = append(said.ToolCalls, openAICall{
				ID: "call_" + k.id, Type: "function", Function: openAIFunction{k.name, strings.Join(k.arguments, "")},
			})
		}
		a.Choices = append(a.Choices, openAIChoice{Index: i, Message: said, FinishReason: o.reason(c.finish)})
	}
	if !x.hideUsage {
		a.Usage = o.usage(x.usage)
	}
	return a
}

func (o openAI) fingerprint() string {
	if o.compatible {
		return ""
	}
	return "fp_sandbox"
}

func (o openAI) reason(f finish) string {
	switch f {
	case finishLength:
		return "length"
	case finishCalls:
		return "tool_calls"
	case finishRefused:
		if o.compatible {
			return "content_filter"
		}
	}
	return "stop"
}

func (o openAI) requestIDHeader() string {
	if o.compatible {
		return ""
	}
	return "X-Request-Id"
}

func (o openAI) rateHeaders(h http.Header, l remaining) {
	if o.compatible {
		return
	}
	h.Set("X-Ratelimit-Limit-Requests", strconv.FormatInt(l.limit.RequestsPerMinute, 10))
	h.Set("X-Ratelimit-Limit-Tokens", strconv.FormatInt(l.limit.TokensPerMinute, 10))
	h.Set("X-Ratelimit-Remaining-Requests", strconv.FormatInt(l.requests, 10))
	h.Set("X-Ratelimit-Remaining-Tokens", strconv.FormatInt(l.tokens, 10))
	h.Set("X-Ratelimit-Reset-Requests", l.resetIn.String())
	h.Set("X-Ratelimit-Reset-Tokens", l.resetIn.String())
}

func (o openAI) problem(p *Problem, _ string) any {
	if o.compatible {
		return compatibleError{compatibleErrorBody{p.Message, p.typeOf(nil, "InternalServerError")}}
	}
	return openAIError{openAIErrorBody{p.Message, p.typeOf(openAITypes, "server_error"), orNull(p.Param), orNull(p.Code)}}
}

type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

type openAIModels struct {
	Object string        `json:"object"`
	Data   []openAIModel `json:"data"`
}

func (o openAI) model(m Model) any {
	return openAIModel{m.Name, "model", modelsCreated.Unix(), "sandbox"}
}

func (o openAI) models(served []Model) any {
	list := openAIModels{Object: "list", Data: []openAIModel{}}
	for _, m := range served {
		list.Data = append(list.Data, openAIModel{m.Name, "model", modelsCreated.Unix(), "sandbox"})
	}
	return list
}

// data is an event of OpenAI's streams, which have no names.
func data(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // structs of strings and integers always marshal
	}
	event := make([]byte, 0, len(text)+8)
	event = append(event, "data: "...)
	event = append(event, text...)
	return append(event, "\n\n"...)
}
