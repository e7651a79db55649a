// Package price says what requests to language models cost.
//
// A price is dated: what was used yesterday is billed by yesterday's. Amounts
// are integer nano-dollars (1e-9 USD), rates nano-dollars for a million tokens,
// which is how providers publish them and exact for every rate they have
// published. There are no floats, and what does not fit is the largest amount
// rather than a small one.
package price

import (
	"math"
	"math/bits"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Rates are nano-dollars for a million tokens, by what the tokens were.
type Rates struct {
	// Input is for tokens that no cache had or took.
	Input int64
	// CacheRead is for input that came from the provider's cache.
	CacheRead int64
	// CacheWrite is for input that went into it, for five minutes or the
	// provider's default.
	CacheWrite int64
	// CacheWrite1h is for input that went into it for longer: an hour, with
	// Anthropic.
	CacheWrite1h int64
	// Output is for what was answered.
	Output int64
	// Reasoning is for the part of the output that was thought, not said.
	Reasoning int64
}

// Price is what one model costs from a day on.
type Price struct {
	// Version is the day it holds from, such as 2026-02-05: with provider and
	// model it names the price in the ledger.
	Version string
	// Rates are for requests of which LongPrompt says nothing else.
	Rates
	// LongPrompt is for requests whose prompt is long; the zero value if the
	// provider makes no difference.
	LongPrompt LongPrompt
}

// LongPrompt is a second set of rates, which holds for all tokens of a request
// whose prompt, with what came from caches or went into them, is longer than
// Above. Providers call it long context pricing.
type LongPrompt struct {
	// Above is the longest prompt, in tokens, that is not long; 0: none is.
	Above int64
	// Rates are those of long prompts.
	Rates
}

// Cost is what a use costs, in nano-dollars, rounded up once. What a provider
// says to be negative is nothing.
func (p Price) Cost(u wire.Usage) int64 {
	rates := p.Rates
	if prompt := plus(plus(u.Input, u.CacheRead), plus(u.CacheWrite, u.CacheWrite1h)); p.long(prompt) {
		rates = p.LongPrompt.Rates
	}
	reasoning := max(0, min(u.Reasoning, u.Output))
	var s sum
	s.add(u.Input, rates.Input)
	s.add(u.CacheRead, rates.CacheRead)
	s.add(u.CacheWrite, rates.CacheWrite)
	s.add(u.CacheWrite1h, rates.CacheWrite1h)
	s.add(u.Output-reasoning, rates.Output)
	s.add(reasoning, rates.Reasoning)
	return s.perMillion()
}

// Worst is the most that so many tokens, or fewer, can cost, however they are
// split over the rates: what has to be reserved before it is known.
func (p Price) Worst(input, output int64) int64 {
	in, out := p.dearest()
	if p.long(input) {
		longIn, longOut := p.LongPrompt.dearest()
		in, out = max(in, longIn), max(out, longOut)
	}
	var s sum
	s.add(input, in)
	s.add(output, out)
	return s.perMillion()
}

func (p Price) long(prompt int64) bool { return p.LongPrompt.Above > 0 && prompt > p.LongPrompt.Above }

// dearest are the highest rates of each direction.
func (r Rates) dearest() (input, output int64) {
	return max(r.Input, r.CacheRead, r.CacheWrite, r.CacheWrite1h), max(r.Output, r.Reasoning)
}

// plus adds what is positive, up to what fits.
func plus(a, b int64) int64 {
	a, b = max(a, 0), max(b, 0)
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// sum adds up products in 128 bits, which six of them always fit into: each is
// below 2^126.
type sum struct{ high, low uint64 }

func (s *sum) add(tokens, rate int64) {
	if tokens <= 0 || rate <= 0 {
		return
	}
	high, low := bits.Mul64(uint64(tokens), uint64(rate))
	var carry uint64
	s.low, carry = bits.Add64(s.low, low, 0)
	s.high, _ = bits.Add64(s.high, high, carry)
}

const million = 1_000_000

// perMillion divides, rounding up; an amount that does not fit is the largest.
func (s *sum) perMillion() int64 {
	if s.high >= million {
		return math.MaxInt64
	}
	quotient, rest := bits.Div64(s.high, s.low, million)
	if quotient >= math.MaxInt64 {
		return math.MaxInt64
	}
	if rest > 0 {
		quotient++
	}
	return int64(quotient)
}
