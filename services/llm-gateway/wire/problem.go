package wire

import (
	"encoding/json"
	"net/http"
)

// Problem is an error of the gateway's own, to be said in a protocol.
type Problem struct {
	// Status is the HTTP status that it has.
	Status int
	// Type is the protocol's word for it; empty: the one that goes with the status.
	Type string
	// Code tells apart what has one type: error.code with OpenAI, and
	// error.details.error_code with Anthropic, which is where it has its own.
	Code string
	// Message is for people.
	Message string
	// RequestID is the gateway's. Only Anthropic's bodies have a place for it.
	RequestID string
}

// ErrorBody is the problem as the body of an answer.
func (p Protocol) ErrorBody(problem Problem) []byte {
	if problem.Type == "" {
		problem.Type = p.errorType(problem.Status)
	}
	var body any
	if p == Anthropic {
		b := anthropicError{Type: "error", RequestID: problem.RequestID}
		b.Error.Type, b.Error.Message = problem.Type, problem.Message
		if problem.Code != "" {
			b.Error.Details = &anthropicDetails{problem.Code}
		}
		body = b
	} else {
		var b openAIError
		b.Error.Message, b.Error.Type = problem.Message, problem.Type
		if problem.Code != "" {
			b.Error.Code = &problem.Code
		}
		body = b
	}
	written, err := json.Marshal(body)
	if err != nil {
		return []byte(`{}`) // not reached: there are only strings in it
	}
	return written
}

type openAIError struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	} `json:"error"`
}

type anthropicError struct {
	Type  string `json:"type"`
	Error struct {
		Type    string            `json:"type"`
		Message string            `json:"message"`
		Details *anthropicDetails `json:"details,omitempty"`
	} `json:"error"`
	RequestID string `json:"request_id,omitempty"`
}

type anthropicDetails struct {
	Code string `json:"error_code"`
}

// ErrorEvent is the problem as the last event of a stream, which the protocol's SDKs
// raise as an error. Nothing follows it, [DONE] and message_stop least of all.
func (p Protocol) ErrorEvent(problem Problem) []byte {
	event := []byte("data: ")
	if p == Anthropic {
		event = []byte("event: error\ndata: ")
	}
	return append(append(event, p.ErrorBody(problem)...), "\n\n"...)
}

// PingEvent keeps a connection open and says nothing: an event of its own with
// Anthropic, a comment with OpenAI, whose SDKs know no such event.
func (p Protocol) PingEvent() []byte {
	if p == Anthropic {
		return []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n")
	}
	return []byte(": keepalive\n\n")
}

// errorType is the protocol's word for the errors that have a status.
func (p Protocol) errorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	}
	if p == OpenAI {
		if status >= http.StatusInternalServerError {
			return "server_error"
		}
		return "invalid_request_error"
	}
	switch status {
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusConflict:
		return "conflict_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusServiceUnavailable, statusOverloaded:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status >= http.StatusInternalServerError {
		return "api_error"
	}
	return "invalid_request_error"
}
