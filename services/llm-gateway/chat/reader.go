package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Delta is a piece of an answer that comes as a stream: more text, or a whole call of
// a tool.
type Delta struct {
	Text     string
	ToolCall *ToolCall
}

// ErrIncomplete says that a stream has not come to its end.
var ErrIncomplete = errors.New("stream is not complete")

// Reader reads an answer that comes as a stream. Text is passed on as it comes. Calls
// of tools come in pieces, several at a time with OpenAI, and the last may be cut by a
// limit: they are passed on at the end, each whole.
type Reader struct {
	protocol wire.Protocol
	stream   *wire.Stream
	parts    []*growing
	refused  bool
}

// growing is a part that more may be added to.
type growing struct {
	index int // of the call, or of the block; -1 for OpenAI's text
	call  *ToolCall
	text  strings.Builder // or the arguments of the call
}

// NewReader reads a stream in that protocol from its beginning.
func NewReader(p wire.Protocol) *Reader {
	return &Reader{protocol: p, stream: wire.NewStream(p)}
}

// Feed reads the next event and is what it adds to the answer, which for many is
// nothing. An error that the provider sends in place of the rest is returned as a
// *wire.ProviderError.
func (r *Reader) Feed(e wire.Event) ([]Delta, error) {
	kind, err := r.stream.See(e)
	if err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	switch kind {
	case wire.Failure:
		return nil, r.stream.Failed()
	case wire.End:
		return r.calls(), nil
	case wire.Ping, wire.UsageOnly:
		return nil, nil
	}
	feed := r.feedOpenAI
	if r.protocol == wire.Anthropic {
		feed = r.feedAnthropic
	}
	deltas, err := feed(e.Data)
	if err != nil {
		return nil, fmt.Errorf("read %s's stream: %w", r.protocol, err)
	}
	return deltas, nil
}

// Response is the whole answer, once its end has come: before, and when it failed,
// ErrIncomplete.
func (r *Reader) Response() (Response, error) {
	if !r.stream.Complete() {
		return Response{}, ErrIncomplete
	}
	usage, exact := r.stream.Usage()
	return r.response(usage, exact), nil
}

func (r *Reader) response(usage wire.Usage, exact bool) Response {
	out := Response{
		ID: r.stream.ID(), Model: r.stream.Model(), Finish: finishOf(r.stream.Finish()),
		Usage: usage, HasUsage: exact,
	}
	if r.refused {
		out.Finish = Refusal
	}
	for _, part := range r.parts {
		switch {
		case part.call != nil:
			call := *part.call
			call.Arguments = part.text.String()
			if call.Arguments == "" && r.protocol == wire.Anthropic {
				call.Arguments = "{}" // as it is in an answer that comes whole
			}
			out.Parts = append(out.Parts, Part{ToolCall: &call})
		case part.text.Len() > 0:
			out.Parts = append(out.Parts, Part{Text: part.text.String()})
		}
	}
	out.settle()
	return out
}

// calls are the calls of tools.
func (r *Reader) calls() (deltas []Delta) {
	for _, part := range r.response(wire.Usage{}, false).Parts {
		if part.ToolCall != nil {
			deltas = append(deltas, Delta{ToolCall: part.ToolCall})
		}
	}
	return deltas
}

// say adds text to the part, and passes it on.
func (r *Reader) say(part *growing, text string) []Delta {
	if text == "" {
		return nil
	}
	part.text.WriteString(text)
	return []Delta{{Text: text}}
}

// part is the part of that index and sort, nil if there is none.
func (r *Reader) part(index int, isCall bool) *growing {
	for _, part := range r.parts {
		if part.index == index && (part.call != nil) == isCall {
			return part
		}
	}
	return nil
}

func (r *Reader) begin(index int, call *ToolCall) *growing {
	part := &growing{index: index, call: call}
	r.parts = append(r.parts, part)
	return part
}

const textOfOpenAI = -1

func (r *Reader) feedOpenAI(data []byte) (deltas []Delta, err error) {
	var chunk struct {
		Choices []struct {
			Index int `json:"index"`
			Delta struct {
				Content   string `json:"content"`
				Refusal   string `json:"refusal"`
				ToolCalls []struct {
					Index    *int   `json:"index"`
					ID       string `json:"id"`
					Function struct {
						Name      string `json:"name"`
						Arguments string `json:"arguments"`
					} `json:"function"`
				} `json:"tool_calls"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(data, &chunk); err != nil {
		return nil, err
	}
	for _, choice := range chunk.Choices {
		if choice.Index != 0 {
			continue
		}
		if said := choice.Delta.Content + choice.Delta.Refusal; said != "" {
			text := r.part(textOfOpenAI, false)
			if text == nil {
				text = r.begin(textOfOpenAI, nil)
			}
			deltas = append(deltas, r.say(text, said)...)
		}
		r.refused = r.refused || choice.Delta.Refusal != ""
		for _, piece := range choice.Delta.ToolCalls {
			call := r.callOfOpenAI(piece.Index, piece.ID)
			if call.call.ID == "" {
				call.call.ID = piece.ID
			}
			call.call.Name += piece.Function.Name
			call.text.WriteString(piece.Function.Arguments)
		}
	}
	return deltas, nil
}

// callOfOpenAI is the call that a piece belongs to. Servers that do not number them
// name a call where it begins.
func (r *Reader) callOfOpenAI(index *int, id string) *growing {
	n := 0
	for _, part := range r.parts {
		if part.call != nil {
			n++
		}
	}
	at := n
	switch {
	case index != nil:
		at = *index
	case id == "" && n > 0:
		at = n - 1
	}
	if part := r.part(at, true); part != nil {
		return part
	}
	return r.begin(at, &ToolCall{})
}

func (r *Reader) feedAnthropic(data []byte) (deltas []Delta, err error) {
	var event struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
		Block struct {
			Type string `json:"type"`
			Text string `json:"text"`
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"content_block"`
		Delta struct {
			Text        string `json:"text"`
			PartialJSON string `json:"partial_json"`
		} `json:"delta"`
	}
	if err := json.Unmarshal(data, &event); err != nil {
		return nil, err
	}
	switch event.Type {
	case "content_block_start":
		switch event.Block.Type {
		case "text":
			return r.say(r.begin(event.Index, nil), event.Block.Text), nil
		case "tool_use":
			r.begin(event.Index, &ToolCall{ID: event.Block.ID, Name: event.Block.Name})
		}
	case "content_block_delta":
		if part := r.part(event.Index, false); part != nil {
			return r.say(part, event.Delta.Text), nil
		}
		if part := r.part(event.Index, true); part != nil {
			part.text.WriteString(event.Delta.PartialJSON)
		}
	}
	return nil, nil
}
