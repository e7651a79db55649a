package llm

import (
	"crypto/sha256"
	"encoding/json"
	"time"
)

// request is what either protocol asks for.
type request struct {
	model     string
	stream    bool
	maxTokens int64 // of the answer, reasoning included; 0 if there is no limit
	stop      []string
	choices   int
	seed      int64
	// includeUsage asks an OpenAI stream for its usage.
	includeUsage bool

	// blocks is the prompt in the order in which providers cache it: tools,
	// system, messages.
	blocks []block
	// ask is the text of the last user message: where directives are.
	ask string
	// tools that may be called, and how.
	tools  []tool
	choice toolChoice
	// answered says that the prompt ends with the result of a tool.
	answered bool
	// schema asks for JSON; nil if it does not, empty if any object will do.
	schema *json.RawMessage
	// thinking asks for the reasoning to be shown (Anthropic).
	thinking bool
}

// block is a part of the prompt that is cached whole or not at all.
type block struct {
	raw    []byte
	tokens int64
	// keep is how long the prompt is to be cached up to here; 0 if that is not
	// asked for.
	keep time.Duration
}

type tool struct {
	name   string
	schema json.RawMessage
}

// toolChoice says whether tools may, must or must not be called, and which.
type toolChoice struct {
	mode string // "auto", "none", "any" or "named"
	name string
}

// promptTokens is what all of the prompt costs.
func (r *request) promptTokens() int64 {
	var tokens int64
	for _, b := range r.blocks {
		tokens += b.tokens
	}
	return tokens
}

// fingerprint is what answers and draws depend on: the model, the seed and
// the prompt, and not whether it is streamed or how long it may be.
func (r *request) fingerprint() [sha256.Size]byte {
	hash := sha256.New()
	head, _ := json.Marshal(struct { // a string and an integer always marshal
		Model string
		Seed  int64
	}{r.model, r.seed})
	hash.Write(head)
	for _, b := range r.blocks {
		hash.Write(b.raw)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
