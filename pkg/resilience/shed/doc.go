// Package shed protects a server from more work than it can do: it bounds how
// many calls are worked on at once, finds the bound by itself, and refuses what
// is too much, the least critical first.
//
// A server that accepts everything does not slow down under overload, it stops:
// calls wait until nobody waits for them any more, and every worker is busy with
// answers that nobody reads. A server that refuses early goes on answering as
// many calls as it can.
//
//	            ┌─ room ──────────────▶ in flight ── leaves ──▶ teaches the limit
//	call ─▶ class                          ▲
//	            └─ none ─▶ queue ── room ──┘
//	                         │
//	                         └─ a more critical call needs the place, the wait or
//	                            the deadline would be over ─▶ OVERLOADED, RetryInfo
//
// # The limit
//
// See limit.go. It follows the time that handlers take, relative to what the
// same method takes when little is in flight, and never falls below a floor.
//
// # The order
//
// See class.go. Room goes to the most critical call that waits, and within one
// criticality to first attempts before retries. The last part of the limit is
// kept for what is critical, so that a critical call need not wait for a
// sheddable one to finish.
//
// # The queue
//
// See queue.go. It is as long as the limit, a call waits in it for half a second
// at most, and while it stands its newest calls are served first.
//
// # Its place in the chain
//
// Behind authentication, which costs a microsecond: otherwise whoever calls a
// critical method without a credential would push out whoever has one. Before
// idempotency and validation, which cost a round trip to the database, and
// allocations. A call that was refused has done nothing; what an earlier attempt
// of it has done can still be asked for with the same idempotency key. Before
// the message is decoded, gRPC has only its tap handle, which knows no
// credential, holds no place, and makes HTTP answer 403.
//
// It knows nothing of one tenant's share: that is the rate limit's, before it.
// It keeps one replica upright; it does not add any.
package shed
