package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// openAI is the protocol of POST /v1/chat/completions
// (https://platform.openai.com/docs/api-reference/chat), as OpenAI speaks it or,
// compatible, as servers of open models do.
type openAI struct{ compatible bool }

// openAIRequest is what is read of a request; the rest is taken as it is.
type openAIRequest struct {
	Model         string            `json:"model"`
	Messages      []json.RawMessage `json:"messages"`
	Stream        bool              `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           *int64            `json:"max_tokens"`
	MaxCompletionTokens *int64            `json:"max_completion_tokens"`
	Stop                json.RawMessage   `json:"stop"`
	N                   *int              `json:"n"`
	Seed                int64             `json:"seed"`
	Tools               []json.RawMessage `json:"tools"`
	ToolChoice          json.RawMessage   `json:"tool_choice"`
	ResponseFormat      struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

type openAIMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
}

type openAITool struct {
	Type     string `json:"type"`
	Function struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

func (o openAI) authenticate(h http.Header) (string, *Problem) {
	key, bearer := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !bearer || !strings.HasPrefix(key, KeyPrefix) {
		return "", &Problem{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "a key begins with " + KeyPrefix}
	}
	return key, nil
}

func (o openAI) read(body []byte) (*request, *Problem) {
	var asked openAIRequest
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, invalid("", "the body could not be read: "+err.Error())
	}
	if asked.Model == "" {
		return nil, invalid("model", "you must provide a model parameter")
	}
	if len(asked.Messages) == 0 {
		return nil, invalid("messages", "messages must not be empty")
	}
	r := &request{
		model: asked.Model, stream: asked.Stream, includeUsage: asked.StreamOptions.IncludeUsage,
		seed: asked.Seed, choices: 1,
	}
	for _, step := range []func(openAIRequest, *request) *Problem{o.readLengths, o.readTools, o.readMessages} {
		if p := step(asked, r); p != nil {
			return nil, p
		}
	}
	switch asked.ResponseFormat.Type {
	case "json_schema":
		r.schema = &asked.ResponseFormat.JSONSchema.Schema
	case "json_object":
		r.schema = &json.RawMessage{}
	}
	return r, nil
}

// maxChoices bounds n.
const maxChoices = 8

// readLengths reads what limits the answer. OpenAI takes either field, but for
// models that reason only the new one; the others know the old one and leave
// aside what they do not know.
func (o openAI) readLengths(asked openAIRequest, r *request) *Problem {
	limit, field := asked.MaxTokens, "max_tokens"
	if !o.compatible {
		if limit != nil && strings.HasSuffix(asked.Model, "-reasoning") {
			return &Problem{
				Status: http.StatusBadRequest, Code: "unsupported_parameter", Param: "max_tokens",
				Message: "max_tokens is not supported with this model; use max_completion_tokens instead",
			}
		}
		if asked.MaxCompletionTokens != nil {
			limit, field = asked.MaxCompletionTokens, "max_completion_tokens"
		}
	}
	if limit != nil {
		if *limit < 1 {
			return invalid(field, field+" must be at least 1")
		}
		r.maxTokens = *limit
	}
	if asked.N != nil {
		if *asked.N < 1 || *asked.N > maxChoices {
			return invalid("n", fmt.Sprintf("n must be between 1 and %d", maxChoices))
		}
		r.choices = *asked.N
	}
	if stop := bytes.TrimSpace(asked.Stop); len(stop) > 0 {
		var one string
		if json.Unmarshal(stop, &one) == nil {
			if one != "" {
				r.stop = []string{one}
			}
		} else if json.Unmarshal(stop, &r.stop) != nil || len(r.stop) > 4 {
			return invalid("stop", "stop must be a string or up to four of them")
		}
	}
	return nil
}

func (o openAI) readTools(asked openAIRequest, r *request) *Problem {
	for _, raw := range asked.Tools {
		var t openAITool
		if err := json.Unmarshal(raw, &t); err != nil || t.Function.Name == "" {
			return invalid("tools", "a tool must be a function with a name")
		}
		r.tools = append(r.tools, tool{t.Function.Name, t.Function.Parameters})
		r.blocks = append(r.blocks, block{raw: raw, tokens: countTokens(raw)})
	}
	r.choice.mode = "auto"
	if len(asked.ToolChoice) == 0 || string(asked.ToolChoice) == "null" {
		return nil
	}
	var mode string
	var named openAITool
	switch {
	case json.Unmarshal(asked.ToolChoice, &mode) == nil && mode == "required":
		r.choice.mode = "any"
	case mode == "none" || mode == "auto":
		r.choice.mode = mode
	case mode == "" && json.Unmarshal(asked.ToolChoice, &named) == nil && named.Function.Name != "":
		r.choice = toolChoice{"named", named.Function.Name}
	default:
		return invalid("tool_choice", "tool_choice must be none, auto, required or a function")
	}
	return nil
}

func (o openAI) readMessages(asked openAIRequest, r *request) *Problem {
	for i, raw := range asked.Messages {
		var m openAIMessage
		field := fmt.Sprintf("messages[%d]", i)
		if err := json.Unmarshal(raw, &m); err != nil {
			return invalid(field, field+" could not be read")
		}
		if !slices.Contains([]string{"system", "developer", "user", "assistant", "tool", "function"}, m.Role) {
			return invalid(field+".role", "unknown role "+m.Role)
		}
		text, tokens, err := openAIContent(m.Content)
		if err != nil {
			return invalid(field+".content", "content must be a string or a list of parts")
		}
		if m.Role == "user" {
			r.ask = text
		}
		r.answered = m.Role == "tool" || m.Role == "function"
		r.blocks = append(r.blocks, block{raw: raw, tokens: messageTokens + tokens + countTokens(m.ToolCalls)})
	}
	return nil
}

// openAIContent is the text of a message, and what all of it costs.
func openAIContent(content json.RawMessage) (text string, tokens int64, err error) {
	if len(content) == 0 || string(content) == "null" {
		return "", 0, nil
	}
	if content[0] == '"' {
		err = json.Unmarshal(content, &text)
		return text, countTokens(text), err
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(content, &parts); err != nil {
		return "", 0, err
	}
	var said strings.Builder
	for _, part := range parts {
		if part.Type == "text" {
			said.WriteString(part.Text)
			tokens += countTokens(part.Text)
		} else {
			tokens += imageTokens
		}
	}
	return said.String(), tokens, nil
}
