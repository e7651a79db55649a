package drill

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/holdfast-dev/holdfast/test/load"
)

// dialect is a protocol of a model provider, as far as one who streams needs it.
// It shares no code with the gateway: a bug there must not be mirrored here.
type dialect struct {
	path string
	// model is the sandbox's that speaks it.
	model        string
	request      func(prompt) any
	authenticate func(h http.Header, key string)
	// read adds an event to what was told.
	read func(t *telling, name string, data []byte) error
}

// said is a message of a conversation, the same in both.
type said struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// openAI is Chat Completions: https://platform.openai.com/docs/api-reference/chat-streaming
var openAI = dialect{
	path:  "/v1/chat/completions",
	model: "gpt-sandbox",
	request: func(p prompt) any {
		return map[string]any{"model": "gpt-sandbox", "stream": true, "max_tokens": p.maxTokens(), "messages": []said{{"user", p.text}}}
	},
	authenticate: func(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) },
	read: func(t *telling, _ string, data []byte) error {
		if string(data) == "[DONE]" {
			t.ended = true
			return nil
		}
		var chunk struct {
			Choices []struct {
				Delta        struct{ Content string } `json:"delta"`
				FinishReason string                   `json:"finish_reason"`
			} `json:"choices"`
			Error *struct{ Type, Code, Message string } `json:"error"`
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return fmt.Errorf("reading the chunk %s: %w", data, err)
		}
		if chunk.Error != nil {
			return &eventError{kind: chunk.Error.Type + " " + chunk.Error.Code, message: chunk.Error.Message}
		}
		for _, choice := range chunk.Choices {
			t.text.WriteString(choice.Delta.Content)
			if choice.FinishReason != "" {
				t.finish = choice.FinishReason
			}
		}
		return nil
	},
}

// anthropic is Messages: https://docs.anthropic.com/en/docs/build-with-claude/streaming
var anthropic = dialect{
	path:  "/v1/messages",
	model: "claude-sandbox",
	request: func(p prompt) any {
		return map[string]any{"model": "claude-sandbox", "stream": true, "max_tokens": p.maxTokens(), "messages": []said{{"user", p.text}}}
	},
	authenticate: func(h http.Header, key string) {
		h.Set("X-Api-Key", key)
		h.Set("Anthropic-Version", "2023-06-01")
	},
	read: func(t *telling, name string, data []byte) error {
		var event struct {
			Delta struct {
				Text       string `json:"text"`
				StopReason string `json:"stop_reason"`
			} `json:"delta"`
			Error struct{ Type, Message string } `json:"error"`
		}
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("reading the event %s %s: %w", name, data, err)
		}
		switch name {
		case "error":
			return &eventError{kind: event.Error.Type, message: event.Error.Message}
		case "message_stop":
			t.ended = true
		default:
			t.text.WriteString(event.Delta.Text)
			if event.Delta.StopReason != "" {
				t.finish = event.Delta.StopReason
			}
		}
		return nil
	},
}

// eventError is a failure that a stream tells of.
type eventError struct{ kind, message string }

func (e *eventError) Error() string { return e.kind + ": " + e.message }

// failureOf is what an error in a stream counts as.
func failureOf(err error) *load.Failure {
	var told *eventError
	if errors.As(err, &told) {
		return &load.Failure{Kind: "event " + told.kind, Detail: told.message}
	}
	return load.Exchange{Err: err}.Failure()
}

// events reads server-sent events to the end of the stream and gives those that
// have data to each. Both protocols have one line of data in an event.
func events(from io.Reader, each func(name string, data []byte) error) error {
	lines := bufio.NewReader(from)
	name := ""
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		field, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if err := each(name, value); err != nil {
				return err
			}
		case "":
			name = "" // the event is over, or it is a comment
		}
	}
}
