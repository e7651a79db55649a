package llm

import "encoding/json"

// The events of a stream (https://docs.claude.com/en/docs/build-with-claude/streaming).
type (
	anthropicStart struct {
		Type    string          `json:"type"`
		Message anthropicAnswer `json:"message"`
	}
	anthropicBlockStart struct {
		Type         string           `json:"type"`
		Index        int              `json:"index"`
		ContentBlock anthropicContent `json:"content_block"`
	}
	anthropicBlockDelta struct {
		Type  string         `json:"type"`
		Index int            `json:"index"`
		Delta anthropicDelta `json:"delta"`
	}
	anthropicDelta struct {
		Type        string  `json:"type"`
		Text        *string `json:"text,omitempty"`
		Thinking    *string `json:"thinking,omitempty"`
		Signature   *string `json:"signature,omitempty"`
		PartialJSON *string `json:"partial_json,omitempty"`
	}
	anthropicBlockStop struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
	}
	anthropicEnd struct {
		Type  string            `json:"type"`
		Delta anthropicEndDelta `json:"delta"`
		Usage *anthropicUsage   `json:"usage,omitempty"`
	}
	anthropicEndDelta struct {
		StopReason   string  `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
	}
	anthropicBare struct {
		Type string `json:"type"`
	}
)

// event is an event with its name.
func event(name string, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // structs of strings, integers and valid JSON always marshal
	}
	said := make([]byte, 0, len(name)+len(text)+17)
	said = append(said, "event: "...)
	said = append(said, name...)
	said = append(said, "\ndata: "...)
	said = append(said, text...)
	return append(said, "\n\n"...)
}

// frames are: message_start, a start, deltas and a stop for each block, then
// message_delta with all of the usage, and message_stop. A ping follows the
// first start.
func (a anthropic) frames(x *exchange, yield func(frame) bool) {
	c := &x.answer.choices[0]
	opening := anthropicAnswer{ID: x.id, Type: "message", Role: "assistant", Model: x.request.model, Content: []anthropicContent{}}
	if !x.hideUsage {
		begun := x.usage
		begun.Output, begun.Reasoning = 1, 0 // what it has until now; the end has it all
		opening.Usage = a.usage(begun)
		opening.Usage.OutputTokensDetails = nil
	}
	if !yield(frame{preamble, event("message_start", anthropicStart{"message_start", opening}), 0}) {
		return
	}
	for i, b := range a.blocks(x) {
		if !yield(frame{preamble, event("content_block_start", anthropicBlockStart{"content_block_start", i, b.start}), b.named}) {
			return
		}
		if i == 0 && !yield(frame{preamble, a.pingEvent(), 0}) {
			return
		}
		for _, d := range b.deltas {
			if !yield(frame{d.phase, event("content_block_delta", anthropicBlockDelta{"content_block_delta", i, d.delta}), d.tokens}) {
				return
			}
		}
		if !yield(frame{preamble, event("content_block_stop", anthropicBlockStop{"content_block_stop", i}), 0}) {
			return
		}
	}
	end := anthropicEnd{Type: "message_delta", Delta: anthropicEndDelta{a.reason(c.finish), orNull(c.stopped)}}
	if !x.hideUsage {
		end.Usage = a.usage(x.usage)
		end.Usage.CacheCreation, end.Usage.ServiceTier = nil, ""
	}
	if !yield(frame{closing, event("message_delta", end), 0}) {
		return
	}
	yield(frame{closing, event("message_stop", anthropicBare{"message_stop"}), 0})
}

// anthropicBlockOf is a block of an answer, as a stream says it.
type anthropicBlockOf struct {
	start  anthropicContent
	named  int64 // tokens of a tool's name, which comes with the start
	deltas []anthropicDeltaOf
}

type anthropicDeltaOf struct {
	delta  anthropicDelta
	phase  phase
	tokens int64
}

func (anthropic) blocks(x *exchange) []anthropicBlockOf {
	c := &x.answer.choices[0]
	var blocks []anthropicBlockOf
	nothing, signed := "", signature
	if thoughts := x.answer.thoughts; len(thoughts) > 0 {
		b := anthropicBlockOf{start: anthropicContent{Type: "thinking", Thinking: &nothing, Signature: &nothing}}
		for i := range thoughts {
			b.deltas = append(b.deltas, anthropicDeltaOf{anthropicDelta{Type: "thinking_delta", Thinking: &thoughts[i]}, content, 1})
		}
		b.deltas = append(b.deltas, anthropicDeltaOf{anthropicDelta{Type: "signature_delta", Signature: &signed}, preamble, 0})
		blocks = append(blocks, b)
	}
	if len(c.text) > 0 {
		b := anthropicBlockOf{start: anthropicContent{Type: "text", Text: &nothing}}
		for i := range c.text {
			b.deltas = append(b.deltas, anthropicDeltaOf{anthropicDelta{Type: "text_delta", Text: &c.text[i]}, content, 1})
		}
		blocks = append(blocks, b)
	}
	for i := range c.calls {
		k := &c.calls[i]
		b := anthropicBlockOf{named: k.named, start: anthropicContent{
			Type: "tool_use", ID: "toolu_" + k.id, Name: k.name, Input: json.RawMessage("{}"),
		}}
		for j := range k.arguments {
			b.deltas = append(b.deltas, anthropicDeltaOf{anthropicDelta{Type: "input_json_delta", PartialJSON: &k.arguments[j]}, content, 1})
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func (a anthropic) errorEvent(p *Problem) []byte { return event("error", a.problem(p, "")) }

func (anthropic) pingEvent() []byte { return event("ping", anthropicBare{"ping"}) }
