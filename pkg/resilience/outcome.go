package resilience

import "time"

// Health is what one attempt says about the dependency.
type Health int

// What an attempt can say.
const (
	Neutral Health = iota // nothing: the caller gave up, or the peer is leaving
	Healthy               // it works, whether or not it liked the request
	Failing
)

// outcome is how one attempt ended.
type outcome struct {
	err    error
	health Health
	// retry says that another attempt may help and does no harm.
	retry bool
	// after is how long the server asked to wait; zero if it did not.
	after time.Duration
	// final says that the server has retried below, or knows that it would be in
	// vain: nobody above should retry either.
	final bool
	// panicked is what a hedged attempt panicked with, for its caller's goroutine.
	panicked any
}

// waits for the first attempt that settles the call: it succeeded, or another
// attempt would not help.
func (o outcome) settles() bool { return o.err == nil || !o.retry }
