package wire

import (
	"bytes"
	"errors"
	"fmt"
)

// Kind is what an event of a stream is to a gateway. Every kind but UsageOnly is for
// the client, in the order in which it came.
type Kind uint8

// The kinds.
const (
	// Ping says nothing: a ping, a comment, anything after the end.
	Ping Kind = iota + 1
	// Preamble frames the answer and holds none of it: OpenAI's chunk with the role
	// only, Anthropic's message_start, the start of an empty block, the stop of any,
	// and events of types that are not known.
	Preamble
	// Content is a piece of the answer: text, a refusal, reasoning, a call of a tool.
	// So is the event that says why the answer ended (OpenAI's finish_reason,
	// Anthropic's stop_reason): an answer may have nothing else, and a client that
	// misses it takes the answer for a part.
	Content
	// UsageOnly is OpenAI's last chunk, with the usage and without choices. A client
	// that did not ask for it must not see it: it expects a choice in every chunk.
	UsageOnly
	// Failure is an error in place of the rest.
	Failure
	// End is OpenAI's [DONE], Anthropic's message_stop.
	End
)

// String is the kind's name.
func (k Kind) String() string {
	if k < Ping || k > End {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return [...]string{Ping: "ping", Preamble: "preamble", Content: "content", UsageOnly: "usage", Failure: "failure", End: "end"}[k]
}

// Stream follows the events of one answer and keeps what accounting needs of it.
//
//	begun ──[content…]──► finished ──End──► complete
//	   └───────┴──────────────┴──Failure──► failed
//
// A stream that ends in any other place was cut.
type Stream struct {
	protocol Protocol
	tally    tally

	id, model, finish string

	begun     bool // a chunk with choices, or message_start, was seen
	finished  bool // why it ended was said
	ended     bool // the end was seen
	broken    bool // something could not be read
	lastUsage bool // the usage was the last word: nothing was produced after it
	aloneAt   bool // and it came in a chunk of its own
	failure   *ProviderError

	deltas int64 // events with content
	bytes  int64 // and the bytes in them
}

// NewStream follows a stream in that protocol.
func NewStream(p Protocol) *Stream { return &Stream{protocol: p} }

// errNotJSON is wrapped by every error of See.
var errNotJSON = errors.New("event cannot be read")

// See takes the next event and says what it is. It is an error when the event cannot
// be read; its kind is Failure then, and the stream will not be complete. Nothing is
// allocated for an event that only brings content.
func (s *Stream) See(e Event) (Kind, error) {
	data := bytes.TrimSpace(e.Data)
	switch {
	case s.ended || len(data) == 0:
		return Ping, nil
	case s.protocol == OpenAI && string(data) == "[DONE]":
		s.ended = true
		return End, nil
	}
	sc := scanner{data: data}
	var kind Kind
	if s.protocol == OpenAI {
		kind = s.seeOpenAI(&sc, string(e.Name) == "error")
	} else {
		kind = s.seeAnthropic(&sc)
	}
	sc.end()
	if err := sc.err(); err != nil {
		s.broken = true
		return Failure, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	switch kind {
	case Failure:
		if s.failure == nil {
			s.failure = errorInStream(s.protocol, data)
		}
	case End:
		s.ended = true
	}
	return kind, nil
}

// Usage is what the provider has said so far. It is exact once the provider has said
// all it ever says: what was read, and what was generated up to the end. Before that,
// Output is to be taken from Produced.
func (s *Stream) Usage() (u Usage, exact bool) {
	u = s.tally.usage(s.protocol)
	if !s.tally.complete() || !s.lastUsage || s.failure != nil || s.broken {
		return u, false
	}
	if s.protocol == OpenAI {
		// Some servers send a running usage with every chunk.
		return u, s.ended || s.aloneAt && s.finished
	}
	return u, s.finished
}

// bytesPerToken is how few bytes of an answer make a token, on average: about 4 in
// English prose, 3 in code and in scripts whose letters take three bytes.
const bytesPerToken = 3

// Produced estimates how many tokens were generated, for a stream that was cut before
// the provider said it: a token for every bytesPerToken bytes of text, reasoning and
// arguments of tools that arrived, at least one for each event that brought some, and
// never less than the provider has already said.
//
// It is an estimate. What the model thought and did not show, and what it generated
// between the last event that arrived and the moment it stopped, is billed and not
// seen.
func (s *Stream) Produced() int64 {
	return max((s.bytes+bytesPerToken-1)/bytesPerToken, s.deltas, s.tally.output)
}

// Failed is the error that the provider sent in place of the rest, nil if none.
func (s *Stream) Failed() *ProviderError { return s.failure }

// Complete says whether the answer came whole: it began, it came to its end, and
// nothing was in place of a part of it.
func (s *Stream) Complete() bool { return s.begun && s.ended && s.failure == nil && !s.broken }

// ID is the provider's name of the answer, empty until it said.
func (s *Stream) ID() string { return s.id }

// Model is the model that answers, empty until the provider said.
func (s *Stream) Model() string { return s.model }

// Finish is why the answer ended, in the provider's words: of the first choice that
// ended. Empty until then.
func (s *Stream) Finish() string { return s.finish }

// keepString reads a string into into, once.
func keepString(sc *scanner, into *string) {
	if t, ok := sc.string(); ok && *into == "" {
		*into = t.String()
	}
}

// produced counts what an event brought.
func (s *Stream) produced(n int) {
	if n > 0 {
		s.deltas++
		s.bytes += int64(n)
	}
	s.lastUsage = false
}
