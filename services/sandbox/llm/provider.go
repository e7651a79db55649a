package llm

import (
	"fmt"
	"net/http"
	"slices"
)

// Provider is one of the providers that are played.
type Provider string

// The providers, each under BasePath.
const (
	OpenAI    Provider = "openai"
	Anthropic Provider = "anthropic"
	// Compatible speaks OpenAI's protocol as servers of open models do.
	Compatible Provider = "compatible"
)

// Providers are all of them.
var Providers = []Provider{OpenAI, Anthropic, Compatible}

// BasePath is what stands before the protocol's own path, such as /llm/openai:
// the base URL of an OpenAI client ends with BasePath + "/v1", that of an
// Anthropic client with BasePath.
func (p Provider) BasePath() string { return "/llm/" + string(p) }

func (p Provider) validate() error {
	if !slices.Contains(Providers, p) {
		return fmt.Errorf("unknown provider %q", p)
	}
	return nil
}

// dialect is what differs between the protocols.
type dialect interface {
	// authenticate answers the key of a request, and a problem where the headers
	// do not have what the protocol wants.
	authenticate(h http.Header) (key string, p *Problem)
	// read reads a request for an answer.
	read(body []byte) (*request, *Problem)
	// answer is the body of an answer in one piece.
	answer(x *exchange) any
	// frames yields the events of a stream in order.
	frames(x *exchange, yield func(frame) bool)
	// problem is the body of an error; requestID names the request in it, where the
	// protocol does.
	problem(p *Problem, requestID string) any
	// model and models are the answers about what is served.
	model(m Model) any
	models(served []Model) any
	// errorEvent is the event by which a stream says that it failed.
	errorEvent(p *Problem) []byte
	// pingEvent is an event that says nothing.
	pingEvent() []byte
	// requestIDHeader is the header that names the request; empty if there is none.
	requestIDHeader() string
	// rateHeaders tells what is left of the limits.
	rateHeaders(h http.Header, l remaining)
}

// phase is where in the answer a frame stands.
type phase int

const (
	preamble phase = iota // says nothing of the answer yet
	content               // has tokens of the answer
	closing               // says how the answer ended
)

// frame is one event of a stream.
type frame struct {
	phase  phase
	data   []byte
	tokens int64 // of content: what was produced with it
}
