package llm

type openAIChunk struct {
	ID                string              `json:"id"`
	Object            string              `json:"object"`
	Created           int64               `json:"created"`
	Model             string              `json:"model"`
	Choices           []openAIDeltaChoice `json:"choices"`
	Usage             any                 `json:"usage,omitempty"`
	SystemFingerprint string              `json:"system_fingerprint,omitempty"`
}

type openAIDeltaChoice struct {
	Index        int         `json:"index"`
	Delta        openAIDelta `json:"delta"`
	FinishReason *string     `json:"finish_reason"`
}

type openAIDelta struct {
	Role      string       `json:"role,omitempty"`
	Content   *string      `json:"content,omitempty"`
	Refusal   *string      `json:"refusal,omitempty"`
	ToolCalls []openAICall `json:"tool_calls,omitempty"`
}

// null is a field that is there and says nothing.
type null struct{}

// MarshalJSON writes null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// frames are: a chunk with the role for each choice, its content, how it ended,
// and then, if it was asked for, the usage in a chunk without choices. The
// choices take turns.
func (o openAI) frames(x *exchange, yield func(frame) bool) {
	chunk := openAIChunk{
		ID: x.id, Object: "chat.completion.chunk", Created: x.created.Unix(), Model: x.request.model,
		SystemFingerprint: o.fingerprint(),
	}
	reports := x.request.includeUsage && !x.hideUsage
	if reports && !o.compatible {
		chunk.Usage = null{} // in every chunk but the last
	}
	send := func(phase phase, tokens int64, choices ...openAIDeltaChoice) bool {
		chunk.Choices = choices
		return yield(frame{phase, data(chunk), tokens})
	}
	nothing := ""
	if !o.compatible {
		for i := range x.answer.choices {
			opening := openAIDelta{Role: "assistant", Content: &nothing}
			if len(x.answer.choices[i].calls) > 0 {
				opening.Content = nil
			}
			if !send(preamble, 0, openAIDeltaChoice{Index: i, Delta: opening}) {
				return
			}
		}
	}
	deltas := make([][]openAIDeltaOf, len(x.answer.choices))
	left := 0
	for i := range x.answer.choices {
		deltas[i] = o.deltas(&x.answer.choices[i])
		left = max(left, len(deltas[i]))
	}
	for turn := range left {
		for i := range deltas {
			if turn < len(deltas[i]) {
				d := deltas[i][turn]
				if !send(content, d.tokens, openAIDeltaChoice{Index: i, Delta: d.delta}) {
					return
				}
			}
		}
	}
	for i := range x.answer.choices {
		reason := o.reason(x.answer.choices[i].finish)
		if !send(closing, 0, openAIDeltaChoice{Index: i, FinishReason: &reason}) {
			return
		}
	}
	if reports {
		chunk.Usage = o.usage(x.usage)
		if !send(closing, 0, []openAIDeltaChoice{}...) {
			return
		}
	}
	yield(frame{closing, []byte("data: [DONE]\n\n"), 0})
}

type openAIDeltaOf struct {
	delta  openAIDelta
	tokens int64
}

// deltas are the contents of a choice, a token each. The compatible ones say
// their role in every one.
func (o openAI) deltas(c *choice) []openAIDeltaOf {
	var role string
	if o.compatible {
		role = "assistant"
	}
	var deltas []openAIDeltaOf
	for i := range c.text {
		d := openAIDelta{Role: role, Content: &c.text[i]}
		if c.finish == finishRefused && !o.compatible {
			d = openAIDelta{Refusal: &c.text[i]}
		}
		deltas = append(deltas, openAIDeltaOf{d, 1})
	}
	for i := range c.calls {
		k := &c.calls[i]
		opening := openAICall{Index: &i, ID: "call_" + k.id, Type: "function", Function: openAIFunction{Name: k.name}}
		deltas = append(deltas, openAIDeltaOf{openAIDelta{Role: role, ToolCalls: []openAICall{opening}}, k.named})
		for _, fragment := range k.arguments {
			next := openAICall{Index: &i, Function: openAIFunction{Arguments: fragment}}
			deltas = append(deltas, openAIDeltaOf{openAIDelta{Role: role, ToolCalls: []openAICall{next}}, 1})
		}
	}
	return deltas
}

func (o openAI) errorEvent(p *Problem) []byte { return data(o.problem(p, "")) }

// pingEvent is a comment, as the protocol has no ping of its own.
func (o openAI) pingEvent() []byte { return []byte(": ping\n\n") }
