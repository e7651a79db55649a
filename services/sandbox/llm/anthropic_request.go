package llm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// anthropic is the protocol of POST /v1/messages
// (https://docs.claude.com/en/api/messages).
type anthropic struct{}

// anthropicRequest is what is read of a request; the rest is taken as it is.
type anthropicRequest struct {
	Model         string             `json:"model"`
	MaxTokens     *int64             `json:"max_tokens"`
	System        json.RawMessage    `json:"system"`
	Messages      []anthropicMessage `json:"messages"`
	Stream        bool               `json:"stream"`
	StopSequences []string           `json:"stop_sequences"`
	Tools         []json.RawMessage  `json:"tools"`
	ToolChoice    *struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tool_choice"`
	Thinking struct {
		Type string `json:"type"`
	} `json:"thinking"`
	OutputConfig struct {
		Format struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
	// CacheControl marks the end of the prompt.
	CacheControl *cacheControl `json:"cache_control"`
}

type anthropicMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// anthropicBlock is what is read of a block of content or of a tool.
type anthropicBlock struct {
	Type         string          `json:"type"`
	Text         string          `json:"text"`
	Name         string          `json:"name"`
	InputSchema  json.RawMessage `json:"input_schema"`
	CacheControl *cacheControl   `json:"cache_control"`
}

type cacheControl struct {
	Type string `json:"type"`
	TTL  string `json:"ttl"`
}

// keep is for how long a mark asks; five minutes unless it says otherwise.
func (c *cacheControl) keep() time.Duration {
	switch {
	case c == nil:
		return 0
	case c.TTL == "1h":
		return time.Hour
	default:
		return automaticKeep
	}
}

func (anthropic) authenticate(h http.Header) (string, *Problem) {
	key := h.Get("X-Api-Key")
	if !strings.HasPrefix(key, KeyPrefix) {
		return "", &Problem{Status: http.StatusUnauthorized, Message: "a key begins with " + KeyPrefix}
	}
	if h.Get("Anthropic-Version") == "" {
		return key, invalid("", "anthropic-version: header is required")
	}
	return key, nil
}

func (a anthropic) read(body []byte) (*request, *Problem) {
	asked, r, p := a.readPrompt(body)
	if p != nil {
		return nil, p
	}
	if asked.MaxTokens == nil {
		return nil, invalid("", "max_tokens: field required")
	}
	if *asked.MaxTokens < 1 {
		return nil, invalid("", "max_tokens: must be greater than or equal to 1")
	}
	r.maxTokens = *asked.MaxTokens
	return r, nil
}

// readPrompt reads all but the length of the answer, which a count does without.
func (a anthropic) readPrompt(body []byte) (*anthropicRequest, *request, *Problem) {
	var asked anthropicRequest
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, nil, invalid("", "the body could not be read: "+err.Error())
	}
	if asked.Model == "" {
		return nil, nil, invalid("", "model: field required")
	}
	if len(asked.Messages) == 0 {
		return nil, nil, invalid("", "messages: at least one message is required")
	}
	r := &request{
		model: asked.Model, stream: asked.Stream, stop: asked.StopSequences, choices: 1,
		thinking: asked.Thinking.Type == "enabled" || asked.Thinking.Type == "adaptive",
	}
	if asked.OutputConfig.Format.Type == "json_schema" {
		r.schema = &asked.OutputConfig.Format.Schema
	}
	for _, step := range []func(*anthropicRequest, *request) *Problem{a.readTools, a.readSystem, a.readMessages} {
		if p := step(&asked, r); p != nil {
			return nil, nil, p
		}
	}
	marks := 0
	if asked.CacheControl != nil {
		r.blocks[len(r.blocks)-1].keep = asked.CacheControl.keep()
	}
	for _, b := range r.blocks {
		if b.keep > 0 {
			marks++
		}
	}
	if marks > maxBreakpoints {
		return nil, nil, invalid("", fmt.Sprintf("a maximum of %d blocks with cache_control may be provided; found %d", maxBreakpoints, marks))
	}
	return &asked, r, nil
}

func (anthropic) readTools(asked *anthropicRequest, r *request) *Problem {
	for i, raw := range asked.Tools {
		var t anthropicBlock
		if err := json.Unmarshal(raw, &t); err != nil || t.Name == "" {
			return invalid("", fmt.Sprintf("tools.%d.name: field required", i))
		}
		r.tools = append(r.tools, tool{t.Name, t.InputSchema})
		part := unmarked(raw)
		r.blocks = append(r.blocks, block{raw: part, tokens: countTokens(part), keep: t.CacheControl.keep()})
	}
	r.choice.mode = "auto"
	if asked.ToolChoice == nil {
		return nil
	}
	switch asked.ToolChoice.Type {
	case "auto", "none", "any":
		r.choice.mode = asked.ToolChoice.Type
	case "tool":
		r.choice = toolChoice{"named", asked.ToolChoice.Name}
	default:
		return invalid("", "tool_choice.type: must be auto, any, tool or none")
	}
	return nil
}

func (a anthropic) readSystem(asked *anthropicRequest, r *request) *Problem {
	if len(asked.System) == 0 {
		return nil
	}
	_, p := a.readContent("system", "system", asked.System, r)
	return p
}

func (a anthropic) readMessages(asked *anthropicRequest, r *request) *Problem {
	for i, m := range asked.Messages {
		field := fmt.Sprintf("messages.%d", i)
		if m.Role != "user" && m.Role != "assistant" {
			return invalid("", field+".role: must be user or assistant")
		}
		first := len(r.blocks)
		read, p := a.readContent(field+".content", m.Role, m.Content, r)
		if p != nil {
			return p
		}
		if first < len(r.blocks) {
			r.blocks[first].tokens += messageTokens
		}
		if m.Role == "user" && read.text != "" {
			r.ask = read.text
		}
		r.answered = read.result
	}
	return nil
}

// contentRead is what a content held.
type contentRead struct {
	text   string
	result bool // of a tool
}

// readContent adds the blocks of a content to the prompt.
func (anthropic) readContent(field, role string, content json.RawMessage, r *request) (read contentRead, _ *Problem) {
	if len(content) > 0 && content[0] == '"' {
		if err := json.Unmarshal(content, &read.text); err != nil {
			return read, invalid("", field+": must be text or a list of blocks")
		}
		r.blocks = append(r.blocks, block{raw: textBlock(role, read.text), tokens: countTokens(read.text)})
		return read, nil
	}
	var blocks []json.RawMessage
	if err := json.Unmarshal(content, &blocks); err != nil {
		return read, invalid("", field+": must be text or a list of blocks")
	}
	var said strings.Builder
	for i, raw := range blocks {
		var b anthropicBlock
		if err := json.Unmarshal(raw, &b); err != nil || b.Type == "" {
			return read, invalid("", fmt.Sprintf("%s.%d.type: field required", field, i))
		}
		part := block{keep: b.CacheControl.keep()}
		switch b.Type {
		case "text":
			said.WriteString(b.Text)
			part.raw, part.tokens = textBlock(role, b.Text), countTokens(b.Text)
		case "image", "document":
			part.raw, part.tokens = unmarked(raw), imageTokens
		default:
			part.raw = unmarked(raw)
			part.tokens = countTokens(part.raw)
			read.result = read.result || b.Type == "tool_result"
		}
		r.blocks = append(r.blocks, part)
	}
	read.text = said.String()
	return read, nil
}

// textBlock is what the cache knows a text by.
func textBlock(role, text string) []byte {
	raw := make([]byte, 0, len(role)+1+len(text))
	raw = append(raw, role...)
	raw = append(raw, 0)
	return append(raw, text...)
}

// unmarked is a block without its mark, which is no part of the prompt: clients
// move it along as a conversation grows. Its members are in one order, with a mark
// and without.
func unmarked(raw json.RawMessage) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return raw
	}
	delete(members, "cache_control")
	without, err := json.Marshal(members)
	if err != nil {
		return raw // JSON that was read can be written
	}
	return without
}
