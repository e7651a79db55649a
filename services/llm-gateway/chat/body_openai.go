package chat

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// maxStopsOpenAI is how many stop texts OpenAI takes.
const maxStopsOpenAI = 4

type openAIRequest struct {
	Model         string               `json:"model"`
	Messages      []openAIMessage      `json:"messages"`
	MaxTokens     int64                `json:"max_completion_tokens,omitempty"`
	Temperature   *float64             `json:"temperature,omitempty"`
	TopP          *float64             `json:"top_p,omitempty"`
	Stop          []string             `json:"stop,omitempty"`
	Tools         []openAITool         `json:"tools,omitempty"`
	ToolChoice    string               `json:"tool_choice,omitempty"`
	User          string               `json:"user,omitempty"`
	Stream        bool                 `json:"stream,omitempty"`
	StreamOptions *openAIStreamOptions `json:"stream_options,omitempty"`
}

type openAIStreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// openAIMessage has a content that is a string, a list of parts, or null in a turn of
// the assistant that only calls tools.
type openAIMessage struct {
	Role       string           `json:"role"`
	Content    any              `json:"content"`
	ToolCalls  []openAIToolCall `json:"tool_calls,omitempty"`
	ToolCallID string           `json:"tool_call_id,omitempty"`
}

type openAIPart struct {
	Type     string          `json:"type"`
	Text     *string         `json:"text,omitempty"`
	ImageURL *openAIImageURL `json:"image_url,omitempty"`
}

type openAIImageURL struct {
	URL string `json:"url"`
}

type openAITool struct {
	Type     string         `json:"type"`
	Function openAIFunction `json:"function"`
}

type openAIFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

type openAIToolCall struct {
	ID       string     `json:"id"`
	Type     string     `json:"type"`
	Function openAICall `json:"function"`
}

type openAICall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func (w writer) openAI(r Request) (openAIRequest, error) {
	out := openAIRequest{
		Model: r.Model, Messages: []openAIMessage{}, MaxTokens: r.MaxTokens, Temperature: r.Temperature, TopP: r.TopP,
		Stop: r.Stop, User: r.Metadata[UserID], Stream: r.Stream,
	}
	if len(r.Stop) > maxStopsOpenAI {
		return out, w.cannot("stop", "at most %d texts", maxStopsOpenAI)
	}
	if r.Stream {
		out.StreamOptions = &openAIStreamOptions{IncludeUsage: true}
	}
	for _, t := range r.Tools {
		out.Tools = append(out.Tools, openAITool{"function", openAIFunction(t)})
	}
	switch {
	case r.ToolChoice == ToolRequired:
		out.ToolChoice = "required"
	case r.ToolChoice == ToolNone && len(r.Tools) > 0: // without tools, it may not be said
		out.ToolChoice = "none"
	}
	if r.System != "" {
		out.Messages = append(out.Messages, openAIMessage{Role: "system", Content: r.System})
	}
	for i, m := range r.Messages {
		said, err := w.openAIMessages(m, fmt.Sprintf("messages[%d]", i))
		if err != nil {
			return out, err
		}
		out.Messages = append(out.Messages, said...)
	}
	return out, nil
}

// openAIMessages is one turn: results of tools are messages of their own.
func (w writer) openAIMessages(m Message, at string) ([]openAIMessage, error) {
	if m.Role == Assistant {
		said, err := w.openAIAssistant(m, at)
		return []openAIMessage{said}, err
	}
	var out []openAIMessage
	rest := m.Parts
	for i, part := range m.Parts {
		result := part.ToolResult
		if result == nil {
			break
		}
		if result.Failed {
			return nil, w.cannot(fmt.Sprintf("%s.parts[%d].tool_result.failed", at, i), "a result has no such mark; say it in the content")
		}
		out = append(out, openAIMessage{Role: "tool", ToolCallID: result.ToolCallID, Content: result.Content})
		rest = m.Parts[i+1:]
	}
	if len(rest) > 0 || len(out) == 0 {
		out = append(out, openAIMessage{Role: "user", Content: openAIContent(rest)})
	}
	return out, nil
}

func (w writer) openAIAssistant(m Message, at string) (openAIMessage, error) {
	out := openAIMessage{Role: "assistant"}
	var said []Part
	for i, part := range m.Parts {
		switch call := part.ToolCall; {
		case call != nil:
			out.ToolCalls = append(out.ToolCalls, openAIToolCall{call.ID, "function", openAICall{call.Name, call.Arguments}})
		case len(out.ToolCalls) > 0:
			return out, w.cannot(fmt.Sprintf("%s.parts[%d].text", at, i), "text stands before the calls of tools")
		default:
			said = append(said, part)
		}
	}
	if len(said) > 0 || len(out.ToolCalls) == 0 {
		out.Content = openAIContent(said)
	}
	return out, nil
}

// openAIContent is parts as a string where they are one text, which every server
// takes, and as a list where they are not.
func openAIContent(parts []Part) any {
	if len(parts) == 0 {
		return ""
	}
	if len(parts) == 1 && texts(parts) {
		return parts[0].Text
	}
	out := make([]openAIPart, len(parts))
	for i, part := range parts {
		if part.Image == nil {
			out[i] = openAIPart{Type: "text", Text: &part.Text}
			continue
		}
		url := part.Image.URL
		if url == "" {
			url = "data:" + part.Image.MediaType + ";base64," + base64.StdEncoding.EncodeToString(part.Image.Data)
		}
		out[i] = openAIPart{Type: "image_url", ImageURL: &openAIImageURL{url}}
	}
	return out
}
