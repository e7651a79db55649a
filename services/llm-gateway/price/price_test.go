package price_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// sonnet is in nano-dollars for a million tokens: $3, $0.30, $3.75, $6, $15.
var sonnet = price.Price{
	Version: "2025-09-29", Rates: price.Rates{Input: 3e9, CacheRead: 3e8, CacheWrite: 375e7, CacheWrite1h: 6e9, Output: 15e9, Reasoning: 15e9},
}

func TestEveryKindOfTokenHasItsOwnRate(t *testing.T) {
	for name, c := range map[string]struct {
		usage wire.Usage
		nanos int64
	}{
		"input":          {wire.Usage{Input: 1_000}, 3_000_000},
		"cache read":     {wire.Usage{CacheRead: 1_000}, 300_000},
		"cache write":    {wire.Usage{CacheWrite: 1_000}, 3_750_000},
		"cache write 1h": {wire.Usage{CacheWrite1h: 1_000}, 6_000_000},
		"output":         {wire.Usage{Output: 1_000}, 15_000_000},
		"all":            {wire.Usage{Input: 1_000, CacheRead: 1_000, CacheWrite: 1_000, CacheWrite1h: 1_000, Output: 1_000}, 28_050_000},
		"nothing":        {wire.Usage{}, 0},
	} {
		require.Equal(t, c.nanos, sonnet.Cost(c.usage), name)
	}
}

func TestReasoningIsBilledInsteadOfOutputNotBesides(t *testing.T) {
	p := price.Price{Rates: price.Rates{Output: 1_000_000, Reasoning: 3_000_000}}
	require.EqualValues(t, 6*1+4*3, p.Cost(wire.Usage{Output: 10, Reasoning: 4}))
	require.EqualValues(t, 10*3, p.Cost(wire.Usage{Output: 10, Reasoning: 99}), "no more can be thought than was answered")
}

func TestCostIsRoundedUpOnce(t *testing.T) {
	p := price.Price{Rates: price.Rates{Input: 1, CacheRead: 1, Output: 1}}
	require.EqualValues(t, 1, p.Cost(wire.Usage{Input: 1}), "less than a nano-dollar is one")
	require.EqualValues(t, 1, p.Cost(wire.Usage{Input: 1, CacheRead: 1, Output: 1}), "three fractions are one too")
	require.EqualValues(t, 1, p.Cost(wire.Usage{Input: 1_000_000}))
	require.EqualValues(t, 2, p.Cost(wire.Usage{Input: 1_000_001}))
}

func TestWhatAProviderSaysToBeNegativeIsNotPaidOut(t *testing.T) {
	require.EqualValues(t, 15_000, sonnet.Cost(wire.Usage{Input: -5, CacheRead: -1, Output: 1, Reasoning: -7}))
	require.Zero(t, sonnet.Worst(-1, -1))
}

func TestAnAmountThatDoesNotFitIsTheLargest(t *testing.T) {
	p := price.Price{Rates: price.Rates{Input: math.MaxInt64, CacheRead: math.MaxInt64, Output: math.MaxInt64, Reasoning: math.MaxInt64}}
	most := wire.Usage{Input: math.MaxInt64, CacheRead: math.MaxInt64, Output: math.MaxInt64, Reasoning: math.MaxInt64}
	require.EqualValues(t, math.MaxInt64, p.Cost(most))
	require.EqualValues(t, math.MaxInt64, p.Worst(math.MaxInt64, math.MaxInt64))
	require.EqualValues(t, math.MaxInt64, price.Price{Rates: price.Rates{Input: 1_000_000}}.Cost(wire.Usage{Input: math.MaxInt64}), "just fits")
	require.EqualValues(t, math.MaxInt64, price.Price{Rates: price.Rates{Input: 1_000_001}}.Cost(wire.Usage{Input: math.MaxInt64}))
}

var (
	rates  = rapid.Int64Range(0, 1_000_000_000_000_000)
	tokens = rapid.OneOf(rapid.Int64Range(0, 10_000_000), rapid.Int64Range(0, math.MaxInt64/8))
)

func anyRates(t *rapid.T) price.Rates {
	return price.Rates{
		Input: rates.Draw(t, "input"), CacheRead: rates.Draw(t, "cache read"), CacheWrite: rates.Draw(t, "cache write"),
		CacheWrite1h: rates.Draw(t, "cache write 1h"), Output: rates.Draw(t, "output"), Reasoning: rates.Draw(t, "reasoning"),
	}
}

// anyPrice may be dearer or cheaper for long prompts.
func anyPrice(t *rapid.T) price.Price {
	p := price.Price{Rates: anyRates(t)}
	if rapid.Bool().Draw(t, "has long prompts") {
		p.LongPrompt = price.LongPrompt{Above: rapid.Int64Range(1, 2_000_000).Draw(t, "above"), Rates: anyRates(t)}
	}
	return p
}

func TestAPromptAboveTheLineIsBilledByTheOtherRatesAltogether(t *testing.T) {
	p := price.Price{
		Rates:      price.Rates{Input: 1e6, CacheRead: 1e6, CacheWrite: 1e6, CacheWrite1h: 1e6, Output: 1e6, Reasoning: 1e6},
		LongPrompt: price.LongPrompt{Above: 100, Rates: price.Rates{Input: 2e6, CacheRead: 3e6, CacheWrite: 4e6, CacheWrite1h: 5e6, Output: 6e6, Reasoning: 7e6}},
	}
	require.EqualValues(t, 110, p.Cost(wire.Usage{Input: 97, CacheRead: 1, CacheWrite: 1, CacheWrite1h: 1, Output: 10, Reasoning: 5}))
	require.EqualValues(t, 98*2+3+4+5+5*6+5*7, p.Cost(wire.Usage{Input: 98, CacheRead: 1, CacheWrite: 1, CacheWrite1h: 1, Output: 10, Reasoning: 5}))
	require.EqualValues(t, 110, p.Worst(100, 10))
	require.EqualValues(t, 101*5+10*7, p.Worst(101, 10))
	p.LongPrompt.Rates = price.Rates{}
	require.GreaterOrEqual(t, p.Worst(101, 10), p.Cost(wire.Usage{Input: 100, Output: 10}), "fewer tokens than were reserved may be the dearer ones")
}

// TestNoSplitOfTheSameTokensCostsMoreThanTheWorst is what makes a reservation
// safe: whatever is cached or thought, it was reserved for.
func TestNoSplitOfTheSameTokensCostsMoreThanTheWorst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPrice(t)
		input, output := tokens.Draw(t, "input tokens"), tokens.Draw(t, "output tokens")
		left := rapid.OneOf(rapid.Int64Range(0, input), rapid.Just(input)).Draw(t, "used of the input")
		part := func(name string) int64 {
			taken := rapid.OneOf(rapid.Int64Range(0, left), rapid.Just(left)).Draw(t, name)
			left -= taken
			return taken
		}
		u := wire.Usage{CacheRead: part("read"), CacheWrite: part("written"), CacheWrite1h: part("written 1h"), Output: output}
		u.Input = left
		u.Reasoning = rapid.Int64Range(0, output).Draw(t, "reasoning tokens")
		require.LessOrEqual(t, p.Cost(u), p.Worst(input, output))
	})
}

// TestCostIsThatOfExactArithmetic compares with big integers.
func TestCostIsThatOfExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPrice(t)
		u := wire.Usage{
			Input: tokens.Draw(t, "a"), CacheRead: tokens.Draw(t, "b"), CacheWrite: tokens.Draw(t, "c"),
			CacheWrite1h: tokens.Draw(t, "d"), Output: tokens.Draw(t, "e"),
		}
		u.Reasoning = rapid.Int64Range(0, u.Output).Draw(t, "f")
		r := p.Rates
		if above := p.LongPrompt.Above; above > 0 && u.Input+u.CacheRead+u.CacheWrite+u.CacheWrite1h > above {
			r = p.LongPrompt.Rates
		}
		total := new(big.Int)
		for _, product := range [][2]int64{
			{u.Input, r.Input},
			{u.CacheRead, r.CacheRead},
			{u.CacheWrite, r.CacheWrite},
			{u.CacheWrite1h, r.CacheWrite1h},
			{u.Output - u.Reasoning, r.Output},
			{u.Reasoning, r.Reasoning},
		} {
			total.Add(total, new(big.Int).Mul(big.NewInt(product[0]), big.NewInt(product[1])))
		}
		total.Add(total, big.NewInt(999_999)).Div(total, big.NewInt(1_000_000))
		want := int64(math.MaxInt64)
		if total.IsInt64() {
			want = total.Int64()
		}
		require.Equal(t, want, p.Cost(u))
	})
}
