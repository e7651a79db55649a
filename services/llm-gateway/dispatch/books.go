package dispatch

import (
	"context"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Books is told of every attempt at a request, by the one goroutine that makes
// them, so that what may be billed is written down before it can be.
type Books interface {
	// Dispatching is asked before an attempt leaves. It may lower
	// Attempt.MaxTokens. An error ends the request, and nothing is sent.
	Dispatching(ctx context.Context, attempt *Attempt) error
	// Ended is told of an attempt that failed before anything of its answer was
	// given to the caller. It is not the place to write: another attempt, and so
	// another Dispatching, may follow at once, or Do returns. How the attempt
	// ended that answered is in Answer or Stream instead.
	Ended(attempt Attempt, outcome Outcome)
}

// Attempt is a request that is sent to one target with one key.
type Attempt struct {
	// Number is 1 for the first of a request.
	Number int
	// ID is what the provider is told in Holdfast-Request-Id: "<request>.<number>".
	ID string
	// Provider, Model and Key are their names.
	Provider, Model, Key string
	// InputTokens is an upper bound of the input, and MaxTokens the bound of the
	// output that is sent; 0 if none is.
	InputTokens, MaxTokens int64
}

// State is what is known of an attempt's bill.
type State uint8

// The states.
const (
	// Failed: it costs nothing. It never left, or was answered with an error
	// before any content.
	Failed State = iota + 1
	// Unknown: it left, and nothing came back that says what it costs.
	Unknown
	// Billed: it costs Usage, which may be an estimate.
	Billed
)

// String says it in a word.
func (s State) String() string {
	switch s {
	case Failed:
		return "failed"
	case Unknown:
		return "unknown"
	case Billed:
		return "billed"
	default:
		return "none"
	}
}

// Outcome is how an attempt ended, as far as the books care.
type Outcome struct {
	State State
	// Reason is how it ended.
	Reason Reason
	// Usage is what the provider said, and, where it was cut short, at least what
	// was seen of its output. Zero in an Unknown attempt of which nothing was seen.
	Usage wire.Usage
	// Exact is whether the provider said all of Usage.
	Exact bool
	// UpstreamID is the provider's id of the answer, or of the error.
	UpstreamID string
	// Finish is why the model stopped, in the provider's words.
	Finish string
	// Error says what went wrong, for people; "" if nothing did.
	Error string
}
