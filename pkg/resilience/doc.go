// Package resilience is how one process calls another, and the one place where
// failsafe-go is composed. A service says what a dependency is worth (the
// policies beside its methods, and one [Config]); it never builds a policy by
// hand.
//
// A call passes, from outside in:
//
//	deadline    the method's own timeout, or the caller's deadline if sooner
//	fallback    where the caller has one
//	retry       full jitter, a retry budget, the server's pushback
//	hedge       a second attempt at a slow read, if configured
//	breaker     no call to what keeps failing
//	bulkhead    no more calls at once than the dependency is worth
//	timeout     of this one attempt
//	transport   gRPC or HTTP
//
// The building blocks are failsafe-go's: the breaker's window and thresholds,
// and the bulkhead. What composes them is ours, because the stock integrations
// cannot be used safely with gRPC; traps_test.go shows each reason why.
//
// # One layer retries
//
// Retries of retries multiply: three layers of three attempts are 27 calls
// (Google, Site Reliability Engineering, chapter 22). Here a failure is retried
// by the layer next to it, and by no other. A server whose own calls have failed
// for good answers with the pushback "do not retry" (gRFC A6), and a request
// that already is a retry, which its metadata tells, is never retried below. The
// retry budget bounds what is left: attempts are at most 1.1 times the calls,
// and a constant, whatever fails and however many layers there are.
//
// # What a breaker counts
//
// UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS and our own timeouts count as
// failures; answers that only say that the caller asked for something wrong
// count as successes. A peer that says that it is draining, shedding, or has an
// open breaker of its own counts as neither: a rolling deploy must not open
// breakers, and an open breaker must not open those above it. Neither does what
// the caller gave up on.
package resilience
