package load

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Kinds of failure that are not statuses. A status that is not OK has its own
// kind, such as "grpc UNAVAILABLE" or "http 503", with the reason if the answer
// gave one.
const (
	// NotSent: the generator had too much under way, so that nobody was asked.
	NotSent = "not sent"
	// Refused: nobody listened.
	Refused = "connection refused"
	// Reset: the connection was cut while the request was under way.
	Reset = "connection reset"
	// Closed: the connection was closed before the answer.
	Closed = "closed before the answer"
	// TimedOut: no answer in time.
	TimedOut = "timed out"
	// Broken: the transport failed in another way.
	Broken = "transport error"
	// WrongAnswer: an answer came and was not the right one.
	WrongAnswer = "wrong answer"
)

// Failure is why an attempt failed.
type Failure struct {
	// Kind is what the report counts by.
	Kind string
	// Detail is what a person needs to understand this very failure.
	Detail string
	// Reason is that of a typed error.
	Reason string
	// Retryable says that the same request, with the same key, may be sent
	// again.
	Retryable bool
	// RetryAfter is how long the server asked to wait, if it did.
	RetryAfter time.Duration
}

// Wrong is the failure of an answer that came and is not the right one.
func Wrong(detail string) *Failure {
	return &Failure{Kind: WrongAnswer, Detail: detail}
}

// transportKind names what happened to a request that got no status. gRPC turns
// such errors into text, so the text is looked at where the chain is cut.
func transportKind(err error) string {
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "connection refused"):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(text, "connection reset"), strings.Contains(text, "broken pipe"):
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(text, "EOF"), strings.Contains(text, "transport is closing"),
		strings.Contains(text, "closed network connection"), strings.Contains(text, "closed connection"):
		return Closed
	default:
		return Broken
	}
}
