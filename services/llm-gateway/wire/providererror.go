package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what is kept of an error.
const (
	maxErrorBody    = 64 << 10
	maxErrorMessage = 2 << 10
)

// ProviderError is an error that a provider answered with. Its text may be shown:
// what looks like a key is taken out of it.
type ProviderError struct {
	// Status is the HTTP status. For an error inside a stream, whose status was 200
	// already, it is the one that this error has otherwise.
	Status int
	// Type is the provider's error.type, such as invalid_request_error.
	Type string
	// Code tells apart what has one type, and is what decisions are to be made by:
	// OpenAI's error.code, such as insufficient_quota or credit_balance_exhausted, and
	// Anthropic's error.details.error_code, such as enforced_spend_limit_reached.
	Code string
	// Message is for people.
	Message string
	// RequestID is the provider's, for its support.
	RequestID string
	// Raw is the body, for a client that speaks the same protocol; nil when it is not
	// a JSON object, such as a proxy's HTML, or larger than 64 KB.
	Raw []byte
}

// Error says what the provider answered.
func (e *ProviderError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "provider answered %d", e.Status)
	for _, word := range []string{e.Type, e.Code} {
		if word != "" {
			b.WriteString(" " + word)
		}
	}
	b.WriteString(": " + e.Message)
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// ReadError reads an answer whose status is not 200. Servers that only look like
// OpenAI's write errors in many shapes, and proxies in none: something can be said of
// all of them.
func ReadError(p Protocol, status int, h http.Header, body []byte) *ProviderError {
	e := &ProviderError{Status: status, RequestID: printable(h.Get(requestIDHeader(p)), 128)}
	if !e.readBody(body) {
		e.Message = withoutJSON(status, h.Get("Content-Type"), body)
	}
	return e
}

// errorInStream reads an error that came in a stream, or in an answer with status 200.
func errorInStream(p Protocol, data []byte) *ProviderError {
	e := &ProviderError{}
	if !e.readBody(data) {
		e.Message = "the provider sent an error without an explanation"
	}
	e.Status = statusOf(e)
	return e
}

func requestIDHeader(p Protocol) string {
	if p == Anthropic {
		return "Request-Id"
	}
	return "X-Request-Id"
}

// readBody takes what a JSON body says; false if it says nothing.
func (e *ProviderError) readBody(body []byte) bool {
	if len(body) > maxErrorBody {
		return false
	}
	body = bytes.TrimSpace(body)
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0] // some answer with a list of one
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil || top == nil {
		return false
	}
	e.Raw = scrub(body)
	if id := word(top["request_id"]); id != "" && e.RequestID == "" {
		e.RequestID = printable(id, 128)
	}
	inner := top
	if said := top["error"]; len(said) > 0 {
		var object map[string]json.RawMessage
		if json.Unmarshal(said, &object) == nil && object != nil {
			inner = object
		} else {
			inner = map[string]json.RawMessage{"message": said}
		}
	}
	var details struct {
		Code json.RawMessage `json:"error_code"`
	}
	_ = json.Unmarshal(inner["details"], &details) // absent, or of another shape: no code
	e.Type = printable(word(inner["type"]), 128)
	e.Code = printable(word(inner["code"]), 128)
	if e.Code == "" {
		e.Code = printable(word(details.Code), 128)
	}
	message := word(inner["message"])
	if message == "" {
		message = word(top["detail"]) // FastAPI's
	}
	e.Message = printable(string(scrub([]byte(message))), maxErrorMessage)
	if e.Message == "" {
		e.Message = "the provider gave no explanation"
	}
	return true
}

// word is a string, or a number as it is written; empty for anything else.
func word(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	if _, err := strconv.ParseFloat(string(value), 64); err == nil {
		return string(value)
	}
	return ""
}

// withoutJSON is what can be said of a body that is not a JSON object.
func withoutJSON(status int, contentType string, body []byte) string {
	name := http.StatusText(status)
	if name == "" {
		name = "status " + strconv.Itoa(status)
	}
	kind, _, _ := strings.Cut(contentType, ";")
	switch kind = printable(strings.TrimSpace(kind), 64); {
	case len(bytes.TrimSpace(body)) == 0:
		return name + ", without a body"
	case strings.HasPrefix(kind, "text/plain") && len(body) <= maxErrorMessage && utf8.Valid(body):
		return name + ": " + printable(string(scrub(body)), maxErrorMessage)
	case kind == "":
		return name + ", with a body that is not JSON"
	}
	return name + ", with a body of type " + kind
}

// printable is s in one line, cut at most bytes.
func printable(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD"))
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// statusOf is the status that an error has where it is not inside a stream.
func statusOf(e *ProviderError) int {
	for _, said := range []string{e.Code, e.Type} {
		if status, ok := statuses[said]; ok {
			return status
		}
		if status, err := strconv.Atoi(said); err == nil && 400 <= status && status <= 599 {
			return status // vLLM's code is the status
		}
	}
	return http.StatusInternalServerError
}

// statusOverloaded is Anthropic's, for when it has no capacity left for anybody.
const statusOverloaded = 529

var statuses = map[string]int{
	"invalid_request_error":             http.StatusBadRequest,
	"context_length_exceeded":           http.StatusBadRequest,
	"authentication_error":              http.StatusUnauthorized,
	"invalid_api_key":                   http.StatusUnauthorized,
	"billing_error":                     http.StatusPaymentRequired,
	"permission_error":                  http.StatusForbidden,
	"not_found_error":                   http.StatusNotFound,
	"model_not_found":                   http.StatusNotFound,
	"conflict_error":                    http.StatusConflict,
	"request_too_large":                 http.StatusRequestEntityTooLarge,
	"rate_limit_error":                  http.StatusTooManyRequests,
	"rate_limit_exceeded":               http.StatusTooManyRequests,
	"insufficient_quota":                http.StatusTooManyRequests,
	"credit_balance_exhausted":          http.StatusTooManyRequests,
	"organization_usage_limit_exceeded": http.StatusTooManyRequests,
	"organization_spend_limit_exceeded": http.StatusTooManyRequests,
	"project_spend_limit_exceeded":      http.StatusTooManyRequests,
	"enforced_spend_limit_reached":      http.StatusTooManyRequests,
	"server_error":                      http.StatusInternalServerError,
	"api_error":                         http.StatusInternalServerError,
	"service_unavailable":               http.StatusServiceUnavailable,
	"service_unavailable_error":         http.StatusServiceUnavailable,
	"timeout_error":                     http.StatusGatewayTimeout,
	"overloaded_error":                  statusOverloaded,
}
