package chat

import (
	"encoding/json"
	"fmt"
)

type anthropicRequest struct {
	Model         string               `json:"model"`
	MaxTokens     int64                `json:"max_tokens,omitempty"`
	System        string               `json:"system,omitempty"`
	Messages      []anthropicMessage   `json:"messages"`
	Temperature   *float64             `json:"temperature,omitempty"`
	TopP          *float64             `json:"top_p,omitempty"`
	StopSequences []string             `json:"stop_sequences,omitempty"`
	Tools         []anthropicTool      `json:"tools,omitempty"`
	ToolChoice    *anthropicToolChoice `json:"tool_choice,omitempty"`
	Metadata      *anthropicMetadata   `json:"metadata,omitempty"`
	Stream        bool                 `json:"stream,omitempty"`
}

type anthropicToolChoice struct {
	Type string `json:"type"`
}

type anthropicMetadata struct {
	UserID string `json:"user_id"`
}

type anthropicMessage struct {
	Role    string `json:"role"`
	Content any    `json:"content"` // a string, or a list of blocks
}

type anthropicTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type anthropicBlock struct {
	Type      string           `json:"type"`
	Text      *string          `json:"text,omitempty"`
	ID        string           `json:"id,omitempty"`
	Name      string           `json:"name,omitempty"`
	Input     json.RawMessage  `json:"input,omitempty"`
	ToolUseID string           `json:"tool_use_id,omitempty"`
	Content   *string          `json:"content,omitempty"`
	IsError   bool             `json:"is_error,omitempty"`
	Source    *anthropicSource `json:"source,omitempty"`
}

type anthropicSource struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type,omitempty"`
	Data      []byte `json:"data,omitempty"` // encoding/json writes base64
	URL       string `json:"url,omitempty"`
}

// noArguments is the schema of a function without arguments, which Anthropic does not
// let be left out.
var noArguments = json.RawMessage(`{"type":"object","properties":{}}`)

func (w writer) anthropic(r Request) (anthropicRequest, error) {
	out := anthropicRequest{
		Model: r.Model, MaxTokens: r.MaxTokens, System: r.System, Messages: []anthropicMessage{},
		Temperature: r.Temperature, TopP: r.TopP, StopSequences: r.Stop, Stream: r.Stream,
	}
	if r.Temperature != nil && *r.Temperature > 1 {
		return out, w.cannot("temperature", "at most 1")
	}
	if id, ok := r.Metadata[UserID]; ok {
		out.Metadata = &anthropicMetadata{id}
	}
	for _, t := range r.Tools {
		tool := anthropicTool{t.Name, t.Description, t.Parameters}
		if len(t.Parameters) == 0 {
			tool.InputSchema = noArguments
		}
		out.Tools = append(out.Tools, tool)
	}
	switch {
	case r.ToolChoice == ToolRequired:
		out.ToolChoice = &anthropicToolChoice{"any"}
	case r.ToolChoice == ToolNone && len(r.Tools) > 0: // without tools, it may not be said
		out.ToolChoice = &anthropicToolChoice{"none"}
	}
	for i, m := range r.Messages {
		content, err := w.anthropicContent(m.Parts, fmt.Sprintf("messages[%d]", i))
		if err != nil {
			return out, err
		}
		out.Messages = append(out.Messages, anthropicMessage{string(m.Role), content})
	}
	return out, nil
}

func (w writer) anthropicContent(parts []Part, at string) (any, error) {
	if len(parts) == 1 && texts(parts) {
		return parts[0].Text, nil
	}
	out := make([]anthropicBlock, len(parts))
	for i, part := range parts {
		switch {
		case part.ToolCall != nil:
			input := json.RawMessage(part.ToolCall.Arguments)
			if len(input) == 0 {
				input = json.RawMessage(`{}`) // how OpenAI's models write none
			}
			if !isObject(input) {
				return nil, w.cannot(fmt.Sprintf("%s.parts[%d].tool_call.arguments", at, i), "not a JSON object")
			}
			out[i] = anthropicBlock{Type: "tool_use", ID: part.ToolCall.ID, Name: part.ToolCall.Name, Input: input}
		case part.ToolResult != nil:
			result := part.ToolResult
			out[i] = anthropicBlock{Type: "tool_result", ToolUseID: result.ToolCallID, Content: &result.Content, IsError: result.Failed}
		case part.Image != nil:
			source := anthropicSource{Type: "url", URL: part.Image.URL}
			if source.URL == "" {
				source = anthropicSource{Type: "base64", MediaType: part.Image.MediaType, Data: part.Image.Data}
			}
			out[i] = anthropicBlock{Type: "image", Source: &source}
		default:
			out[i] = anthropicBlock{Type: "text", Text: &part.Text}
		}
	}
	return out, nil
}
