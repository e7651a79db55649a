// Package chat says one request in both protocols of language models, and reads the
// answers of both back: the part of them that is the same everywhere. A request that
// came in one protocol and leaves in the same never passes through here; its bytes are
// package wire's.
//
// What a protocol cannot say is an error that names the field, never left out: a
// request that means less than it says is worse than none.
package chat

import (
	"encoding/json"
	"fmt"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Request is what a model is asked.
type Request struct {
	// Model is the name to ask for.
	Model string
	// System is what the model is told before the conversation; may be empty.
	System string
	// Messages is the conversation, oldest first.
	Messages []Message
	// MaxTokens is the most tokens to generate; 0 leaves it out. Anthropic refuses a
	// request without it: wire.Request.Rewrite adds it.
	MaxTokens int64
	// Temperature and TopP are left out when nil.
	Temperature, TopP *float64
	// Stop are texts at which to stop.
	Stop []string
	// Tools are functions that the model may ask to be called.
	Tools []Tool
	// ToolChoice says whether it must, may or must not.
	ToolChoice ToolChoice
	// Metadata goes along. Only UserID can be said in both protocols.
	Metadata map[string]string
	// Stream asks for the answer as it comes, with the usage at its end.
	Stream bool
}

// UserID is the member of Metadata that tells the provider's abuse monitoring which
// user of the client asks. It is to be opaque.
const UserID = "user_id"

// Role is whose turn a message is.
type Role string

// The roles.
const (
	// User asks, and tells the results of tools.
	User Role = "user"
	// Assistant is the model.
	Assistant Role = "assistant"
)

// Message is one turn of a conversation.
type Message struct {
	Role  Role
	Parts []Part
}

// Part is a piece of a message: the one that is not nil, or Text.
type Part struct {
	Text       string
	ToolCall   *ToolCall
	ToolResult *ToolResult
	Image      *Image
}

// ToolCall is a function that the model asks for.
type ToolCall struct {
	// ID is the name of the call, which its result repeats.
	ID string
	// Name is the function.
	Name string
	// Arguments are as the model wrote them: usually a JSON object, and not checked.
	Arguments string
}

// ToolResult is what a function returned.
type ToolResult struct {
	// ToolCallID is the ID of the call.
	ToolCallID string
	// Content is what it returned.
	Content string
	// Failed says whether it failed. OpenAI's protocol cannot say it.
	Failed bool
}

// Image is a picture: at a URL, or its bytes.
type Image struct {
	// URL is where it is, for the provider to fetch.
	URL string
	// Data are its bytes, when there is no URL.
	Data []byte
	// MediaType is what the bytes are, such as image/png.
	MediaType string
}

// Tool is a function that the model may ask for.
type Tool struct {
	Name        string
	Description string
	// Parameters is a JSON Schema of its arguments; empty: it takes none.
	Parameters json.RawMessage
}

// ToolChoice says whether the model asks for a function.
type ToolChoice uint8

// The choices.
const (
	// ToolAuto lets the model decide.
	ToolAuto ToolChoice = iota
	// ToolRequired wants at least one call.
	ToolRequired
	// ToolNone wants none.
	ToolNone
)

// Response is a whole answer.
type Response struct {
	// ID is the provider's name of it.
	ID string
	// Model is the one that answered.
	Model string
	// Parts is what the model said: text and calls of tools. Reasoning is left out.
	Parts []Part
	// Finish is why it ended.
	Finish Finish
	// Usage is what it took; HasUsage is false if the provider did not say.
	Usage    wire.Usage
	HasUsage bool
}

// Finish is why an answer ended. Only Stop and ToolCalls end whole answers.
type Finish uint8

// The reasons.
const (
	// Unspecified is a reason that is not known here, or none.
	Unspecified Finish = iota
	// Stop means that the model was done, or met a stop text.
	Stop
	// Length means that the limit of tokens was reached. A call of a tool at the end
	// may be a part of one, and is left out.
	Length
	// ToolCalls means that the model waits for the results of functions.
	ToolCalls
	// Refusal means that the model declined. What it said to it is text.
	Refusal
	// ContentFilter means that the provider withheld the answer, or the rest of it.
	ContentFilter
)

// String is the reason's name in the gateway's API.
func (f Finish) String() string {
	if f > ContentFilter {
		return fmt.Sprintf("Finish(%d)", uint8(f))
	}
	return [...]string{"UNSPECIFIED", "STOP", "LENGTH", "TOOL_CALLS", "REFUSAL", "CONTENT_FILTER"}[f]
}

// whole says whether nothing of the answer was cut.
func (f Finish) whole() bool { return f != Length && f != ContentFilter }

// finishOf is what a provider's word for the end means.
func finishOf(reason string) Finish {
	switch reason {
	case "stop", "end_turn", "stop_sequence":
		return Stop
	case "length", "max_tokens", "model_context_window_exceeded":
		return Length
	case "tool_calls", "tool_use":
		return ToolCalls
	case "refusal":
		return Refusal
	case "content_filter":
		return ContentFilter
	}
	return Unspecified
}

// UnsupportedError says that a protocol cannot say a field of a request.
type UnsupportedError struct {
	// Protocol is the one that cannot.
	Protocol wire.Protocol
	// Field is the path of the field, such as messages[2].parts[0].tool_result.failed.
	Field string
	// Message is why.
	Message string
}

// Error names the field and the protocol.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s cannot be said in the %s protocol: %s", e.Field, e.Protocol, e.Message)
}

// writer refuses what its protocol cannot say.
type writer wire.Protocol

func (w writer) cannot(field, format string, args ...any) error {
	return &UnsupportedError{Protocol: wire.Protocol(w), Field: field, Message: fmt.Sprintf(format, args...)}
}
