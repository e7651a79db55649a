package chat

import (
	"encoding/json"
	"fmt"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Read reads an answer that came whole. Of several choices it is the first. A body
// that is an error is returned as a *wire.ProviderError.
func Read(p wire.Protocol, body []byte) (Response, error) {
	answer, err := wire.ReadAnswer(p, body)
	if err != nil {
		return Response{}, fmt.Errorf("read answer: %w", err)
	}
	r := Response{
		ID: answer.ID, Model: answer.Model, Finish: finishOf(answer.Finish),
		Usage: answer.Usage, HasUsage: answer.HasUsage,
	}
	read := readOpenAI
	if p == wire.Anthropic {
		read = readAnthropic
	}
	if err := read(body, &r); err != nil {
		return Response{}, fmt.Errorf("read %s's answer: %w", p, err)
	}
	r.settle()
	return r, nil
}

// settle makes the reason agree with what was said, in the same way for both
// protocols.
func (r *Response) settle() {
	calls := false
	for _, part := range r.Parts {
		calls = calls || part.ToolCall != nil
	}
	if r.Finish == Stop && calls {
		r.Finish = ToolCalls // some servers say stop
	}
	if n := len(r.Parts); n > 0 && r.Parts[n-1].ToolCall != nil && !r.Finish.whole() {
		r.Parts = r.Parts[:n-1] // its arguments may be cut, even where they are JSON
	}
}

func readOpenAI(body []byte, r *Response) error {
	var answer struct {
		Choices []struct {
			Message struct {
				Content   string           `json:"content"`
				Refusal   string           `json:"refusal"`
				ToolCalls []openAIToolCall `json:"tool_calls"`
			} `json:"message"`
			FinishReason string `json:"finish_reason"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if len(answer.Choices) == 0 {
		return nil
	}
	choice := answer.Choices[0]
	r.Finish = finishOf(choice.FinishReason)
	for _, said := range []string{choice.Message.Content, choice.Message.Refusal} {
		if said != "" {
			r.Parts = append(r.Parts, Part{Text: said})
		}
	}
	if choice.Message.Refusal != "" {
		r.Finish = Refusal
	}
	for _, call := range choice.Message.ToolCalls {
		r.Parts = append(r.Parts, Part{ToolCall: &ToolCall{call.ID, call.Function.Name, call.Function.Arguments}})
	}
	return nil
}

func readAnthropic(body []byte, r *Response) error {
	var answer struct {
		Content []struct {
			Type  string          `json:"type"`
			Text  string          `json:"text"`
			ID    string          `json:"id"`
			Name  string          `json:"name"`
			Input json.RawMessage `json:"input"`
		} `json:"content"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	for _, block := range answer.Content {
		switch {
		case block.Type == "text" && block.Text != "":
			r.Parts = append(r.Parts, Part{Text: block.Text})
		case block.Type == "tool_use":
			r.Parts = append(r.Parts, Part{ToolCall: &ToolCall{block.ID, block.Name, string(block.Input)}})
		}
	}
	return nil
}
