// Package apierror is the one error model of every API. An error has a
// [Reason], which is stable; the reason decides the gRPC status, the HTTP status
// and whether a retry makes sense, from one table. Details travel as google.rpc
// messages over gRPC and as RFC 9457 problem details over HTTP, with the same
// facts.
//
// It is for the edge. Inside, errors are plain Go errors; they become one of
// these where a handler answers.
package apierror

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is the domain of every ErrorInfo (AIP-193).
const Domain = "holdfast.dev"

// Violation is one field that breaks a rule.
type Violation struct {
	// Field is the path of the field, such as "lines[0].quantity".
	Field string
	// Description says what is wrong with it.
	Description string
}

// Error is a typed error as clients see it. Its cause is for the log and is
// never sent.
type Error struct {
	reason     Reason
	message    string
	violations []Violation
	retryAfter time.Duration
	metadata   map[string]string
	cause      error
}

// Option adds a detail to an error.
type Option func(*Error)

// WithField adds a field that breaks a rule. Repeatable.
func WithField(field, description string) Option {
	return func(e *Error) {
		e.violations = append(e.violations, Violation{Field: field, Description: description})
	}
}

// WithRetryAfter says when a retry makes sense (RetryInfo, Retry-After).
func WithRetryAfter(d time.Duration) Option { return func(e *Error) { e.retryAfter = d } }

// WithMetadata adds a fact for programs. Do not put anything into it that the
// client may not know.
func WithMetadata(key, value string) Option {
	return func(e *Error) {
		if e.metadata == nil {
			e.metadata = map[string]string{}
		}
		e.metadata[key] = value
	}
}

// WithCause keeps the error behind this one, for errors.Is and the log. It is
// never sent.
func WithCause(err error) Option { return func(e *Error) { e.cause = err } }

// New makes an error. The message is for people, and is sent as it is. A reason
// that is not in the table becomes INTERNAL.
func New(reason Reason, message string, opts ...Option) *Error {
	if _, ok := kindOf[reason]; !ok {
		reason = ReasonInternal
	}
	e := &Error{reason: reason, message: message}
	for _, opt := range opts {
		opt(e)
	}
	if e.retryAfter == 0 && waits(reason) {
		e.retryAfter = defaultRetryAfter
	}
	return e
}

// defaultRetryAfter is what an error says that passes with time, when whoever
// made it knows no better.
const defaultRetryAfter = time.Second

// waits reports whether an error of the reason passes with time alone.
func waits(reason Reason) bool {
	switch k := kindOf[reason]; k.code {
	case codes.Unavailable, codes.Aborted, codes.ResourceExhausted:
		return k.retry == RetrySameKey
	default:
		return false
	}
}

// Error has the reason, the message, the violations and the cause: it is for
// the log.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.reason, e.message)
	for _, v := range e.violations {
		fmt.Fprintf(&b, "; %s: %s", v.Field, v.Description)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Reason returns the reason.
func (e *Error) Reason() Reason { return e.reason }

// Message returns the message for people.
func (e *Error) Message() string { return e.message }

// Retry says what a client may do next.
func (e *Error) Retry() Retry { return kindOf[e.reason].retry }

// RetryAfter says when a retry makes sense; zero if nothing is known.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// Metadata returns one of the facts for programs.
func (e *Error) Metadata(key string) string { return e.metadata[key] }

// Violations returns the fields that break a rule.
func (e *Error) Violations() []Violation { return e.violations }

// HTTPStatus returns the HTTP status.
func (e *Error) HTTPStatus() int { return kindOf[e.reason].http }

// GRPCStatus is what gRPC sends: the status with ErrorInfo, and BadRequest and
// RetryInfo where there is something to say.
func (e *Error) GRPCStatus() *status.Status {
	k := kindOf[e.reason]
	info := &errdetails.ErrorInfo{Reason: string(e.reason), Domain: Domain, Metadata: map[string]string{metadataRetry: string(k.retry)}}
	for key, value := range e.metadata {
		info.Metadata[key] = value
	}
	details := []protoadapt.MessageV1{info}
	if len(e.violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range e.violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
		details = append(details, bad)
	}
	if e.retryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.retryAfter)})
	}
	st, err := status.New(k.code, e.message).WithDetails(details...)
	if err != nil { // only for an OK status, which no kind has
		return status.New(k.code, e.message)
	}
	return st
}

// metadataRetry is where ErrorInfo says whether to retry, and how.
const metadataRetry = "retry"

// ReasonOf returns the reason of an error that has one: an [*Error], or a
// status that carries our ErrorInfo, such as an answer of another service.
func ReasonOf(err error) (Reason, bool) {
	if e, ok := Typed(err); ok {
		return e.reason, true
	}
	return "", false
}

// Typed returns the error of ours that is inside err, be it an [*Error] or a
// status that carries our ErrorInfo. Unlike [From] it types nothing itself.
func Typed(err error) (*Error, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e, true
	}
	e = fromStatus(err)
	return e, e != nil
}
