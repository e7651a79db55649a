package llm

import "net/http"

// Problem is a refusal or a failure, to be said in a provider's shape.
type Problem struct {
	Status int
	// Type and Code are the protocol's own names; Anthropic's shape has its code
	// in error.details.error_code, and only where there is one.
	Type, Code string
	Message    string
	// Param is the field at fault; OpenAI's shape only.
	Param string
	// Header are further headers of the answer, such as Retry-After.
	Header http.Header
}

// openAITypes and anthropicTypes are the types of error by status, as the
// providers' pages on errors list them:
// https://platform.openai.com/docs/guides/error-codes and
// https://docs.claude.com/en/api/errors.
var (
	openAITypes = map[int]string{
		http.StatusTooManyRequests:    "rate_limit_error",
		http.StatusServiceUnavailable: "service_unavailable_error",
	}
	anthropicTypes = map[int]string{
		http.StatusUnauthorized:          "authentication_error",
		http.StatusPaymentRequired:       "billing_error",
		http.StatusForbidden:             "permission_error",
		http.StatusNotFound:              "not_found_error",
		http.StatusRequestEntityTooLarge: "request_too_large",
		http.StatusTooManyRequests:       "rate_limit_error",
		http.StatusGatewayTimeout:        "timeout_error",
		statusOverloaded:                 "overloaded_error",
	}
)

// statusOverloaded is Anthropic's own: every customer is affected, not this key.
const statusOverloaded = 529

// typeOf is the type of a problem: its own, or what is usual for its status.
func (p *Problem) typeOf(types map[int]string, serverError string) string {
	if p.Type != "" {
		return p.Type
	}
	if usual, ok := types[p.Status]; ok {
		return usual
	}
	if p.Status >= http.StatusInternalServerError {
		return serverError
	}
	return "invalid_request_error"
}

// openAIError is the shape of OpenAI's errors.
type openAIError struct {
	Error openAIErrorBody `json:"error"`
}

type openAIErrorBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// compatibleError is that of servers that leave out what they have nothing for.
type compatibleError struct {
	Error compatibleErrorBody `json:"error"`
}

type compatibleErrorBody struct {
	Message string `json:"message"`
	Type    string `json:"type"`
}

// anthropicError is the shape of Anthropic's errors.
type anthropicError struct {
	Type      string             `json:"type"`
	Error     anthropicErrorBody `json:"error"`
	RequestID string             `json:"request_id,omitempty"`
}

type anthropicErrorBody struct {
	Type    string                 `json:"type"`
	Message string                 `json:"message"`
	Details *anthropicErrorDetails `json:"details,omitempty"`
}

type anthropicErrorDetails struct {
	ErrorCode string `json:"error_code"`
}

func invalid(param, message string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Message: message, Param: param}
}

// orNull is nil for nothing, which JSON writes as null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
