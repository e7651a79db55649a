package apierror

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ContentType is the media type of problem details (RFC 9457).
const ContentType = "application/problem+json"

// Problem is an error as HTTP clients see it: RFC 9457 problem details with the
// facts that gRPC clients get.
type Problem struct {
	// Type identifies the kind of problem.
	Type string `json:"type"`
	// Title is the reason in words.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Detail is about this occurrence, for people.
	Detail string `json:"detail"`
	// Instance is the request, by its X-Request-Id.
	Instance string `json:"instance,omitempty"`
	// Reason is the stable name to switch on.
	Reason Reason `json:"reason"`
	// Retry says what to do next.
	Retry Retry `json:"retry"`
	// RetryAfterMillis is when, in milliseconds.
	RetryAfterMillis int64 `json:"retry_after_ms,omitempty"`
	// Errors are the fields that break a rule.
	Errors []ProblemField `json:"errors,omitempty"`
	// Metadata holds further facts for programs.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// ProblemField is one field that breaks a rule.
type ProblemField struct {
	// Field is its path in the request.
	Field string `json:"field"`
	// Detail says what is wrong.
	Detail string `json:"detail"`
}

// ProblemOf describes an error for HTTP.
func ProblemOf(err error) Problem {
	e := From(err)
	p := Problem{
		Type:             "https://" + Domain + "/problems/" + strings.ReplaceAll(strings.ToLower(string(e.reason)), "_", "-"),
		Title:            strings.ReplaceAll(strings.ToLower(string(e.reason)), "_", " "),
		Status:           e.HTTPStatus(),
		Detail:           e.message,
		Reason:           e.reason,
		Retry:            e.Retry(),
		RetryAfterMillis: e.retryAfter.Milliseconds(),
		Metadata:         e.metadata,
	}
	for _, v := range e.violations {
		p.Errors = append(p.Errors, ProblemField{Field: v.Field, Detail: v.Description})
	}
	return p
}

// WriteProblem answers an HTTP request with an error. The instance is the
// X-Request-Id that the response already carries.
func WriteProblem(w http.ResponseWriter, err error) {
	p := ProblemOf(err)
	p.Instance = w.Header().Get("X-Request-Id")
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfterMillis > 0 {
		// The header has whole seconds: rounded up, since early is wasted.
		seconds := math.Ceil((time.Duration(p.RetryAfterMillis) * time.Millisecond).Seconds())
		h.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	body, marshalErr := json.Marshal(p)
	if marshalErr != nil { // strings and numbers only: cannot be
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
