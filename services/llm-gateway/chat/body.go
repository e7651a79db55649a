package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Body is the request in a protocol. The same request has the same bytes, so that
// the provider's prompt cache hits. What the protocol cannot say is an
// *UnsupportedError.
func Body(p wire.Protocol, r Request) ([]byte, error) {
	w := writer(p)
	if err := w.check(r); err != nil {
		return nil, err
	}
	var body any
	var err error
	switch p {
	case wire.OpenAI:
		body, err = w.openAI(r)
	case wire.Anthropic:
		body, err = w.anthropic(r)
	default:
		return nil, fmt.Errorf("body in %s", p)
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // three tokens where one was
	if err := encoder.Encode(body); err != nil {
		return nil, fmt.Errorf("body in %s: %w", p, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// check refuses what neither protocol can say.
func (w writer) check(r Request) error {
	for name := range r.Metadata {
		if name != UserID {
			return w.cannot("metadata."+name, "only metadata.%s is known", UserID)
		}
	}
	if r.ToolChoice == ToolRequired && len(r.Tools) == 0 {
		return w.cannot("tool_choice", "a call is required, and there are no tools")
	}
	for i, tool := range r.Tools {
		if len(tool.Parameters) > 0 && !isObject(tool.Parameters) {
			return w.cannot(fmt.Sprintf("tools[%d].parameters", i), "not a JSON object")
		}
	}
	for i, m := range r.Messages {
		if err := w.checkMessage(m, fmt.Sprintf("messages[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (w writer) checkMessage(m Message, at string) error {
	if m.Role != User && m.Role != Assistant {
		return w.cannot(at+".role", "%q is neither user nor assistant", m.Role)
	}
	for i, part := range m.Parts {
		at := fmt.Sprintf("%s.parts[%d]", at, i)
		switch {
		case part.ToolCall != nil && m.Role != Assistant:
			return w.cannot(at+".tool_call", "only the assistant calls")
		case part.ToolResult != nil && m.Role != User:
			return w.cannot(at+".tool_result", "only the user tells results")
		case part.ToolResult != nil && i > 0 && m.Parts[i-1].ToolResult == nil:
			return w.cannot(at+".tool_result", "results come before everything else")
		case part.Image != nil && m.Role != User:
			return w.cannot(at+".image", "only the user shows pictures")
		case part.Image != nil && part.Image.URL == "" && part.Image.MediaType == "":
			return w.cannot(at+".image.media_type", "missing")
		}
	}
	return nil
}

// isObject says whether text is a JSON object.
func isObject(text []byte) bool {
	return json.Valid(text) && bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{"))
}

// texts says whether all parts are text.
func texts(parts []Part) bool {
	return !slices.ContainsFunc(parts, func(p Part) bool {
		return p.ToolCall != nil || p.ToolResult != nil || p.Image != nil
	})
}
