package dispatch

// Reason is how an attempt ended, or why a target was passed over: the value of
// metrics' labels, and of Path.
type Reason string

// How an attempt ends with which the provider's answer is read.
const (
	// OK is an answer, or a stream to its end.
	OK Reason = "ok"
	// RateLimited is a key that was used too much for now.
	RateLimited Reason = "rate_limited"
	// QuotaExhausted is a key whose account has nothing left to spend.
	QuotaExhausted Reason = "quota_exhausted"
	// KeyBroken is a key that the provider does not accept.
	KeyBroken Reason = "key_broken"
	// Overloaded is a provider that has too much to do.
	Overloaded Reason = "overloaded"
	// ServerError is a provider's own mistake.
	ServerError Reason = "server_error"
	// UpstreamTimeout is a provider that gave up by itself.
	UpstreamTimeout Reason = "upstream_timeout"
	// Conflict is a request that met another one.
	Conflict Reason = "conflict"
	// Invalid is a request that is wrong, wherever it is sent.
	Invalid Reason = "invalid"
	// Misrouted is an address that answers with a redirect or nonsense.
	Misrouted Reason = "misrouted"
)

// How an attempt ends without a whole answer.
const (
	// ConnectFailed is a connection that was refused or not to be had.
	ConnectFailed Reason = "connect_failed"
	// ConnectTimeout is one that took too long.
	ConnectTimeout Reason = "connect_timeout"
	// FirstTokenTimeout is a stream whose first content took too long.
	FirstTokenTimeout Reason = "first_token_timeout"
	// AnswerTimeout is a whole answer that took too long.
	AnswerTimeout Reason = "answer_timeout"
	// IdleTimeout is a stream that fell silent after its first content.
	IdleTimeout Reason = "idle_timeout"
	// TotalTimeout is a request whose time is up.
	TotalTimeout Reason = "total_timeout"
	// Cut is an answer that ended before its end.
	Cut Reason = "cut"
	// Empty is a stream that ended in good order and had nothing in it.
	Empty Reason = "empty"
	// Garbled is an answer that is not of the protocol.
	Garbled Reason = "garbled"
	// TooLarge is an answer, or an event of a stream, beyond what is read.
	TooLarge Reason = "too_large"
	// CallerLeft is a request that nobody waits for.
	CallerLeft Reason = "caller_left"
)

// Why no attempt was made at a target.
const (
	// KeysResting is a target none of whose keys may be used now.
	KeysResting Reason = "keys_resting"
	// BreakerOpen is a model that keeps failing at this provider.
	BreakerOpen Reason = "breaker_open"
	// ProviderDown is a provider that cannot be connected to.
	ProviderDown Reason = "provider_down"
	// Queued is a key whose queue is full, or too long for this request.
	Queued Reason = "queue_full"
	// Untranslatable is a target of a protocol that the request cannot be said in.
	Untranslatable Reason = "untranslatable"
	// Refused is a request that [Books] did not let pass.
	Refused Reason = "refused"
)

// ends are the reasons that attempts can have, in the order of the metrics.
var ends = []Reason{
	OK, RateLimited, QuotaExhausted, KeyBroken, Overloaded, ServerError, UpstreamTimeout, Conflict, Invalid, Misrouted,
	ConnectFailed, ConnectTimeout, FirstTokenTimeout, AnswerTimeout, IdleTimeout, TotalTimeout, Cut, Empty, Garbled, TooLarge, CallerLeft,
}
