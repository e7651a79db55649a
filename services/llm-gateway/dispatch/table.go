package dispatch

import (
	"slices"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// rule is a row of the table of errors.
type rule struct {
	protocol wire.Protocol // 0: both
	from, to int           // statuses, both included
	codes    []string      // wire.ProviderError.Code; nil: any
	reason   Reason
	verdict  Verdict
	against  Level
	rest     rest
	why      string
}

// exhausted are OpenAI's codes of accounts that have nothing left to spend. Their
// error.type is not the same for all of them.
var exhausted = []string{
	"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached",
	"organization_usage_limit_exceeded", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
}

// answers is what a provider's error means. The first row that fits is meant.
//
// Sources: Anthropic's and OpenAI's documentation of errors, and what their SDKs
// retry: 408, 409, 429 and 5xx, unless x-should-retry says otherwise. What is
// never sent again with the same key may be sent with another: it is the key
// that such an answer is about.
var answers = []rule{
	{wire.OpenAI, 400, 599, exhausted, QuotaExhausted, NextKey, Key, long, "the account behind the key has nothing left to spend, which waiting does not mend"},
	{wire.Anthropic, 429, 429, []string{"enforced_spend_limit_reached"}, QuotaExhausted, NextKey, Key, long, "a spend limit: it looks like a rate limit and does not pass"},
	{0, 429, 429, nil, RateLimited, NextKey, Key, hinted, "the key was used too much for now; one 429 says nothing about the provider"},
	{0, 401, 401, nil, KeyBroken, NextKey, Key, long, "the key is not, or no longer, accepted"},
	{0, 402, 402, nil, QuotaExhausted, NextKey, Key, long, "the account behind the key does not pay"},
	{0, 403, 403, nil, KeyBroken, NextKey, Key, long, "the key may not do this"},
	{0, 408, 408, nil, UpstreamTimeout, Here, Model, awake, "the provider gave up waiting"},
	{0, 409, 409, nil, Conflict, Here, Nobody, awake, "the request met another one"},
	{0, 400, 499, nil, Invalid, Never, Nobody, awake, "the request is wrong, too long, or asks for what is not there: 400, 404, 413, 422"},
	{0, 529, 529, nil, Overloaded, NextTarget, Model, awake, "too much to do; to come back at once makes it worse"},
	{0, 503, 503, nil, Overloaded, NextTarget, Model, awake, "the same by its older name"},
	{0, 504, 504, nil, UpstreamTimeout, Here, Model, awake, "the provider, or a proxy before it, gave up waiting"},
	{0, 500, 599, nil, ServerError, Here, Model, awake, "the provider's own mistake"},
	{0, 300, 399, nil, Misrouted, NextTarget, Provider, awake, "no provider redirects: the address is wrong, and a key must not follow it elsewhere"},
}

// endings is what an attempt means that has no whole answer.
var endings = []rule{
	{reason: ConnectFailed, verdict: NextTarget, against: Provider, why: "refused, unknown, or not to be trusted; nothing was sent"},
	{reason: ConnectTimeout, verdict: NextTarget, against: Provider, why: "no connection within the route's connect timeout; nothing was sent"},
	{reason: FirstTokenTimeout, verdict: NextTarget, against: Model, why: "no content within the route's first_token timeout"},
	{reason: AnswerTimeout, verdict: NextTarget, against: Model, why: "no whole answer within the route's first_token timeout, of a request that is not streamed"},
	{reason: IdleTimeout, verdict: NextTarget, against: Model, why: "silence between two chunks; only after the first content, so nothing can follow"},
	{reason: TotalTimeout, verdict: Never, against: Nobody, why: "the request's time is up, which may be its caller's doing"},
	{reason: Cut, verdict: Here, against: Model, why: "the answer ended before its end"},
	{reason: Empty, verdict: Here, against: Model, why: "the stream ended without content"},
	{reason: Garbled, verdict: NextTarget, against: Model, why: "not an answer of the protocol"},
	{reason: TooLarge, verdict: NextTarget, against: Nobody, why: "larger than what is read of an answer, an event, or headers"},
	{reason: CallerLeft, verdict: Never, against: Nobody, why: "nobody waits for the answer"},
}

// ruleOf finds the row of a provider's error.
func ruleOf(p wire.Protocol, e *wire.ProviderError) rule {
	for _, r := range answers {
		if (r.protocol == 0 || r.protocol == p) && r.from <= e.Status && e.Status <= r.to && r.names(e) {
			return r
		}
	}
	return rule{reason: Misrouted, verdict: NextTarget, against: Provider}
}

func (r rule) names(e *wire.ProviderError) bool {
	return r.codes == nil || slices.Contains(r.codes, e.Code)
}

// ending finds the row of an attempt without an answer.
func ending(reason Reason) rule {
	for _, r := range endings {
		if r.reason == reason {
			return r
		}
	}
	return rule{reason: reason, verdict: Never, against: Nobody}
}
