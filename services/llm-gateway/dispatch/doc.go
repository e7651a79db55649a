// Package dispatch sends one request over a route's chain of targets until one
// answers: the error table, retry hints, keys that rest, health at three levels,
// timeouts, and the commit point of streams.
//
// It knows nothing of money, tenants or the shape of the API. Who pays is told of
// every attempt by [Books], who waits for a provider's rate limit is a [Gate],
// and what the bytes mean is package wire's.
//
//	            ┌──────────── one deadline, one count of attempts ─────────────┐
//	Do ─▶ link ─▶ breakers ─▶ key ─▶ gate ─▶ books ─▶ attempt ─▶ error table ─▶ verdict
//	       ▲                   ▲                ▲                                 │
//	       └── next target ────┴── next key ────┴────────── here, after a pause ──┘
//
// # One layer retries
//
// Retries of retries multiply, so there are none below. The transports follow no
// redirects and send a request again by themselves only when nothing of it was
// written: net/http does that for a kept connection which turns out to be closed,
// and HTTP/2 for a stream that the server says it has not begun (RFC 9113,
// section 8.7). A POST without an Idempotency-Key header of which a byte has left
// is never sent again by net/http, and this package sends no such header. Nor
// does anybody retry above: what failed for good says so, see [Failure].
//
// # The commit point
//
// A stream is given to the caller when its first content has arrived. What
// providers send before, the role or message_start, is kept and given with it. Until
// then whatever goes wrong falls back as if nothing had been said: an error
// event, a stream that is empty, stalls or is cut. After it, there is no way
// back, and whatever goes wrong is an error of [Stream.Next], also where the
// connection was closed in good order without the protocol's own end.
package dispatch
