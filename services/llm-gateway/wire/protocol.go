// Package wire reads and changes the bytes of the two protocols in which language
// models are asked: OpenAI's chat completions and Anthropic's messages.
//
// A gateway needs little of what it forwards: who is asked, how much may be
// answered, what it took, how it ended. So a request is scanned, not decoded, and
// what must change is changed in place: the provider sees the client's bytes, its
// prompt cache keeps hitting, and a prompt of 100 KB costs tens of microseconds.
// Streams are followed an event at a time, without allocating.
//
// Nothing here does I/O, knows a route or a price, or translates one protocol into
// the other.
//
// Sources: the API references at platform.openai.com/docs/api-reference/chat and
// platform.claude.com/docs/en/api/messages; RFC 8259 for JSON; the HTML standard,
// section 9.2, for server-sent events.
package wire

import "fmt"

// Protocol is one of the two protocols.
type Protocol uint8

// The protocols.
const (
	// OpenAI is POST /v1/chat/completions, which many other servers speak too.
	OpenAI Protocol = iota + 1
	// Anthropic is POST /v1/messages.
	Anthropic
)

// String is the protocol's name as configuration and metrics have it.
func (p Protocol) String() string {
	switch p {
	case OpenAI:
		return "openai"
	case Anthropic:
		return "anthropic"
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// ParseProtocol is the protocol of a name that String returned.
func ParseProtocol(name string) (Protocol, error) {
	for _, p := range []Protocol{OpenAI, Anthropic} {
		if name == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("protocol %q: want openai or anthropic", name)
}
