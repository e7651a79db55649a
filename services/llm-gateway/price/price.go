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

// Price is what one model costs from a day on. All rates are nano-dollars for a
// million tokens.
type Price struct {
	// Version is the day it holds from, such as 2026-02-05: with provider and
	// model it names the price in the ledger.
	Version string
	// Input is for tokens that no cache had or took.
	Input int64
	// CacheRead is for input that came from the provider's cache.
	CacheRead int64
	// CacheWrite is for input that went into it, for five minutes.
	CacheWrite int64
	// CacheWrite1h is for input that went into it, for an hour.
	CacheWrite1h int64
	// Output is for what was answered.
	Output int64
	// Reasoning is for the part of the output that was thought, not said.
	Reasoning int64
}

// Cost is what a use costs, in nano-dollars, rounded up once. What a provider
// says to be negative is nothing.
func (p Price) Cost(u wire.Usage) int64 {
	reasoning := max(0, min(u.Reasoning, u.Output))
	var s sum
	s.add(u.Input, p.Input)
	s.add(u.CacheRead, p.CacheRead)
	s.add(u.CacheWrite, p.CacheWrite)
	s.add(u.CacheWrite1h, p.CacheWrite1h)
	s.add(u.Output-reasoning, p.Output)
	s.add(reasoning, p.Reasoning)
	return s.perMillion()
}

// Worst is the most that so many tokens can cost, however they are split over
// the rates: what has to be reserved before it is known.
func (p Price) Worst(input, output int64) int64 {
	var s sum
	s.add(input, max(p.Input, p.CacheRead, p.CacheWrite, p.CacheWrite1h))
	s.add(output, max(p.Output, p.Reasoning))
	return s.perMillion()
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
