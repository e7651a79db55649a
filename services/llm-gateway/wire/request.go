package wire

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Limits of what a request may say. They are far above what a provider takes.
const (
	maxModelName = 256
	maxChoices   = 1024
)

// Request is what routing needs to know of a request's body.
type Request struct {
	// Protocol is the one the body is written in.
	Protocol Protocol
	// Body is the client's, untouched.
	Body []byte
	// Model is the model asked for, escapes decoded. Never empty.
	Model string
	// Stream says whether the answer is to be a stream of events.
	Stream bool
	// MaxTokens is the most tokens a choice may have; 0 when the client does not say.
	// OpenAI's max_completion_tokens wins over its older name max_tokens.
	MaxTokens int64
	// Choices is how many answers are asked for (OpenAI's n), 1 when not said. Each
	// may have MaxTokens.
	Choices int64
	// IncludeUsage says whether the client wants OpenAI's chunk with the usage at the
	// end of a stream.
	IncludeUsage bool
	// Surcharge names the member by which the client asks for something that costs
	// more than its tokens, or more for them; empty: there is none. See surcharge.go.
	Surcharge string

	model         span // with quotes
	maxTokens     limit
	maxCompletion limit
	options       span // of stream_options
	includeUsage  span // its include_usage
}

// span is where a value stands; none stands at 0, where the body opens.
type span struct{ from, to int }

func (s span) there() bool { return s.to > 0 }

// limit is a limit of tokens; one of 0 that is there is null.
type limit struct {
	span
	value int64
}

// RequestError says why a body cannot be served. It is the client's mistake.
type RequestError struct {
	Field   string // the member, empty when it is the whole body
	Offset  int    // of the byte at which it shows
	Message string
}

// Error names the member and what is wrong with it.
func (e *RequestError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("body: %s (at byte %d)", e.Message, e.Offset)
	}
	return fmt.Sprintf("%s: %s (at byte %d)", e.Field, e.Message, e.Offset)
}

// Scan finds in a body what routing and accounting need. The body is valid JSON
// then, and says each of these members at most once, so that the provider cannot
// understand another model or another limit than the gateway did. Every error is a
// *RequestError.
func Scan(p Protocol, body []byte) (Request, error) {
	r := Request{Protocol: p, Body: body, Choices: 1}
	s := scanner{data: body}
	var seen uint16
	for name := range s.members {
		m, exact := memberOf(p, name)
		if m == memberOther {
			continue
		}
		at := s.pos
		if !exact {
			// Servers that are not strict take any case, and the last of several.
			return Request{}, &RequestError{Field: names[m], Offset: at, Message: fmt.Sprintf("written as %q", name)}
		}
		if seen&(1<<m) != 0 {
			return Request{}, &RequestError{Field: names[m], Offset: at, Message: "said twice"}
		}
		seen |= 1 << m
		if field, why := r.read(&s, m); why != "" && s.wrong == "" {
			return Request{}, &RequestError{Field: field, Offset: at, Message: why}
		}
	}
	s.end()
	switch {
	case s.wrong != "":
		return Request{}, &RequestError{Offset: s.at, Message: "not valid JSON: " + s.wrong}
	case s.wide && !utf8.Valid(body):
		return Request{}, &RequestError{Offset: firstInvalid(body), Message: "not valid UTF-8"}
	case r.Model == "":
		return Request{}, &RequestError{Field: names[memberModel], Message: "missing"}
	}
	r.MaxTokens = r.maxTokens.value
	if r.maxCompletion.value > 0 {
		r.MaxTokens = r.maxCompletion.value
	}
	return r, nil
}

// member is a member of the body that matters.
type member uint8

const (
	memberOther member = iota
	memberModel
	memberStream
	memberMaxTokens
	memberMaxCompletionTokens
	memberN
	memberStreamOptions
	memberServiceTier
	memberTools
	memberSpeed
	memberWebSearch
	memberModalities
)

var names = [...]string{
	memberModel: "model", memberStream: "stream", memberMaxTokens: "max_tokens",
	memberMaxCompletionTokens: "max_completion_tokens", memberN: "n", memberStreamOptions: "stream_options",
	memberServiceTier: "service_tier", memberTools: "tools", memberSpeed: "speed", memberWebSearch: "web_search_options",
	memberModalities: "modalities",
}

// memberOf is the member of that name, memberOther if it does not matter to the protocol;
// exact is false when the name only differs by case.
func memberOf(p Protocol, name text) (m member, exact bool) {
	raw := name.raw
	if name.escaped {
		raw = []byte(name.String())
	}
	for m := memberModel; m <= memberModalities; m++ {
		if !m.of(p) {
			continue
		}
		if string(raw) == names[m] {
			return m, true
		}
		if bytes.EqualFold(raw, []byte(names[m])) {
			return m, false
		}
	}
	return memberOther, true
}

// of says whether a protocol has the member.
func (m member) of(p Protocol) bool {
	switch m {
	case memberMaxCompletionTokens, memberN, memberStreamOptions, memberWebSearch, memberModalities:
		return p == OpenAI
	case memberSpeed:
		return p == Anthropic
	default:
		return true
	}
}

// read takes a member's value; why is what is wrong with it, and with which field.
func (r *Request) read(s *scanner, m member) (field, why string) {
	field = names[m]
	from := s.pos
	if m != memberModel && s.null() {
		switch m {
		case memberMaxTokens:
			r.maxTokens.span = span{from, s.pos}
		case memberMaxCompletionTokens:
			r.maxCompletion.span = span{from, s.pos}
		case memberStreamOptions:
			r.options = span{from, s.pos}
		}
		return field, ""
	}
	ok := true
	switch m {
	case memberModel:
		var name text
		if name, ok = s.string(); !ok {
			return field, "not a string"
		}
		r.Model, r.model = name.String(), span{from, s.pos}
		return field, wrongName(r.Model)
	case memberStream:
		if r.Stream, ok = s.boolean(); !ok {
			return field, "neither true nor false"
		}
	case memberMaxTokens:
		r.maxTokens.value, ok = s.integer()
		r.maxTokens.span = span{from, s.pos}
		ok = ok && r.maxTokens.value > 0
	case memberMaxCompletionTokens:
		r.maxCompletion.value, ok = s.integer()
		r.maxCompletion.span = span{from, s.pos}
		ok = ok && r.maxCompletion.value > 0
	case memberN:
		r.Choices, ok = s.integer()
		ok = ok && 0 < r.Choices && r.Choices <= maxChoices
	case memberStreamOptions:
		return r.readOptions(s)
	case memberServiceTier, memberTools, memberSpeed, memberWebSearch, memberModalities:
		r.readSurcharge(s, m)
	}
	if !ok {
		return field, "not a whole number above 0, or too large"
	}
	return field, ""
}

func wrongName(name string) string {
	switch {
	case name == "":
		return "empty"
	case len(name) > maxModelName:
		return fmt.Sprintf("longer than %d bytes", maxModelName)
	}
	for _, c := range name {
		if c < 0x20 || c == 0x7f || c == utf8.RuneError {
			return "characters that no name has"
		}
	}
	return ""
}

// readOptions takes OpenAI's stream_options.
func (r *Request) readOptions(s *scanner) (field, why string) {
	const usage = "stream_options.include_usage"
	if s.peek() != '{' {
		s.skip()
		return names[memberStreamOptions], "not an object"
	}
	from := s.pos
	for name := range s.members {
		if !name.is("include_usage") {
			continue
		}
		at := s.pos
		if r.includeUsage.there() {
			why = "said twice"
		}
		if !s.null() {
			var ok bool
			if r.IncludeUsage, ok = s.boolean(); !ok {
				why = "neither true nor false"
			}
		}
		r.includeUsage = span{at, s.pos}
	}
	r.options = span{from, s.pos}
	return usage, why
}

func firstInvalid(body []byte) int {
	for i := 0; i < len(body); {
		c, size := utf8.DecodeRune(body[i:])
		if c == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(body)
}
