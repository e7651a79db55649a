package dispatch

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Failure is the error of a request that was not answered, or whose stream broke
// off. It never has a secret in it.
type Failure struct {
	// Reason is how the last attempt ended, or why none was made.
	Reason Reason
	// Status is the HTTP status that tells the caller: the provider's own where
	// the request was wrong, and otherwise a gateway's: 429, 499, 502, 503 or 504. A
	// key of ours that is refused is no 401 of the caller's.
	Status int
	// RetryAfter is when to come back; 0 if nobody knows.
	RetryAfter time.Duration
	// Permanent says that the same request will fail again.
	Permanent bool
	// Committed says that the caller was given a part of the answer.
	Committed bool
	// Last is the error that the provider answered with; nil if it did not.
	Last *wire.ProviderError
	// Protocol is what Last speaks.
	Protocol wire.Protocol
	// Path is the way that the request went, and Attempts how often it was sent.
	Path     []Try
	Attempts int
	// Cause is what was seen: an error of the network, of Books, or of the context.
	Cause error
}

// Error says how the request ended, and what was seen last.
func (f *Failure) Error() string {
	var b strings.Builder
	b.WriteString("dispatch: ")
	b.WriteString(string(f.Reason))
	if f.Committed {
		b.WriteString(" in the middle of a stream")
	}
	fmt.Fprintf(&b, " after %d attempts", f.Attempts)
	switch {
	case f.Last != nil:
		fmt.Fprintf(&b, ": status %d: %s", f.Last.Status, f.Last.Message)
	case f.Cause != nil:
		b.WriteString(": ")
		b.WriteString(f.Cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause and the provider's error, those that there are.
func (f *Failure) Unwrap() []error {
	var errs []error
	if f.Cause != nil {
		errs = append(errs, f.Cause)
	}
	if f.Last != nil {
		errs = append(errs, f.Last)
	}
	return errs
}

// RetryAfterSeconds is RetryAfter for the header of that name, rounded up; 0: none.
func (f *Failure) RetryAfterSeconds() int64 { return int64(math.Ceil(f.RetryAfter.Seconds())) }

// statusClientLeft is nginx's for a client that closed the request. Nobody reads it
// but the access log.
const statusClientLeft = 499

// statusFor is what a caller is told of a reason.
func statusFor(reason Reason, last *wire.ProviderError) int {
	switch reason {
	case Invalid:
		if last != nil && last.Status >= 400 && last.Status < 500 {
			return last.Status
		}
		return http.StatusBadRequest
	case Untranslatable:
		return http.StatusBadRequest
	case RateLimited, Queued:
		return http.StatusTooManyRequests
	case Overloaded, BreakerOpen, ProviderDown, Conflict, KeysResting:
		return http.StatusServiceUnavailable
	case ConnectTimeout, FirstTokenTimeout, AnswerTimeout, IdleTimeout, TotalTimeout, UpstreamTimeout:
		return http.StatusGatewayTimeout
	case CallerLeft:
		return statusClientLeft
	default:
		return http.StatusBadGateway
	}
}
