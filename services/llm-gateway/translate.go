package llmgateway

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/chat"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/document"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// requestOf says a prompt of the API in the words of package chat.
func requestOf(p *llmv1.Prompt, stream bool) chat.Request {
	r := chat.Request{
		Model: p.GetModel(), System: p.GetSystem(), MaxTokens: int64(p.GetMaxTokens()),
		Temperature: p.Temperature, TopP: p.TopP, Stop: p.GetStop(), ToolChoice: choices[p.GetToolChoice()], Stream: stream,
	}
	for _, m := range p.GetMessages() {
		message := chat.Message{Role: chat.User}
		if m.GetRole() == llmv1.Role_ROLE_ASSISTANT {
			message.Role = chat.Assistant
		}
		for _, part := range m.GetParts() {
			message.Parts = append(message.Parts, partOf(part))
		}
		r.Messages = append(r.Messages, message)
	}
	for _, t := range p.GetTools() {
		r.Tools = append(r.Tools, chat.Tool{Name: t.GetName(), Description: t.GetDescription(), Parameters: json.RawMessage(t.GetParameters())})
	}
	return r
}

var choices = map[llmv1.ToolChoice]chat.ToolChoice{
	llmv1.ToolChoice_TOOL_CHOICE_UNSPECIFIED: chat.ToolAuto,
	llmv1.ToolChoice_TOOL_CHOICE_REQUIRED:    chat.ToolRequired,
	llmv1.ToolChoice_TOOL_CHOICE_NONE:        chat.ToolNone,
}

func partOf(p *llmv1.Part) chat.Part {
	switch kind := p.GetKind().(type) {
	case *llmv1.Part_ToolCall:
		return chat.Part{ToolCall: &chat.ToolCall{ID: kind.ToolCall.GetId(), Name: kind.ToolCall.GetName(), Arguments: kind.ToolCall.GetArguments()}}
	case *llmv1.Part_ToolResult:
		result := kind.ToolResult
		return chat.Part{ToolResult: &chat.ToolResult{ToolCallID: result.GetToolCallId(), Content: result.GetContent(), Failed: result.GetFailed()}}
	case *llmv1.Part_Image:
		return chat.Part{Image: &chat.Image{URL: kind.Image.GetUrl(), Data: kind.Image.GetData(), MediaType: kind.Image.GetMediaType()}}
	default:
		return chat.Part{Text: p.GetText()}
	}
}

// partsOf says what a model said in the words of the API.
func partsOf(parts []chat.Part) []*llmv1.Part {
	var said []*llmv1.Part
	for _, p := range parts {
		if p.ToolCall != nil {
			said = append(said, &llmv1.Part{Kind: &llmv1.Part_ToolCall{ToolCall: callOf(*p.ToolCall)}})
			continue
		}
		said = append(said, &llmv1.Part{Kind: &llmv1.Part_Text{Text: p.Text}})
	}
	return said
}

func callOf(c chat.ToolCall) *llmv1.ToolCall {
	return &llmv1.ToolCall{Id: c.ID, Name: c.Name, Arguments: c.Arguments}
}

// deltaOf says a piece of a stream in the words of the API; nil if it is none that
// the API has.
func deltaOf(d chat.Delta) *llmv1.StreamGenerateResponse {
	switch {
	case d.ToolCall != nil:
		return &llmv1.StreamGenerateResponse{Kind: &llmv1.StreamGenerateResponse_ToolCall{ToolCall: callOf(*d.ToolCall)}}
	case d.Text != "":
		return &llmv1.StreamGenerateResponse{Kind: &llmv1.StreamGenerateResponse_Text{Text: d.Text}}
	default:
		return nil
	}
}

var finishes = map[chat.Finish]llmv1.FinishReason{
	chat.Stop:          llmv1.FinishReason_FINISH_REASON_STOP,
	chat.Length:        llmv1.FinishReason_FINISH_REASON_LENGTH,
	chat.ToolCalls:     llmv1.FinishReason_FINISH_REASON_TOOL_CALLS,
	chat.Refusal:       llmv1.FinishReason_FINISH_REASON_REFUSAL,
	chat.ContentFilter: llmv1.FinishReason_FINISH_REASON_CONTENT_FILTER,
}

func finishOf(f chat.Finish) llmv1.FinishReason { return finishes[f] }

// unsayable types what a protocol cannot say.
func unsayable(err error) error {
	if e, ok := errors.AsType[*chat.UnsupportedError](err); ok {
		return apierror.New(apierror.ReasonUnsupported, e.Error(), apierror.WithMetadata("field", e.Field))
	}
	return err
}

// counted has the provider count.
func (g *gateway) counted(ctx context.Context, route *routes.Route, body []byte) (int64, bool) {
	request, err := wire.Scan(wire.Anthropic, body)
	if err != nil {
		return 0, false
	}
	answer, err := g.count(ctx, route, request, nil)
	if err != nil {
		return 0, false
	}
	var said struct {
		InputTokens int64 `json:"input_tokens"`
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil || said.InputTokens <= 0 {
		return 0, false
	}
	return said.InputTokens, true
}

// fileStatus is what /statusz says of a file that is followed.
type fileStatus struct {
	File    string `json:"file,omitempty"`
	Version string `json:"version"`
	Since   string `json:"since"`
	Failing string `json:"failing_since,omitempty"`
	Why     string `json:"why,omitempty"`
}

func told(s document.Status, version string) fileStatus {
	const layout = "2006-01-02T15:04:05Z07:00"
	f := fileStatus{File: s.File, Version: version, Since: s.Since.UTC().Format(layout)}
	if s.Why != nil {
		f.Failing, f.Why = s.Failing.UTC().Format(layout), s.Why.Error()
	}
	return f
}
