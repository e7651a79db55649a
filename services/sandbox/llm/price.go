package llm

import (
	"math/bits"
	"slices"
)

// Usage is what a request used, in tokens. Input excludes what was read from
// or written to the prompt cache, whatever the protocol's own report includes;
// Output includes Reasoning.
type Usage struct {
	Input        int64 `json:"input"`
	CacheRead    int64 `json:"cache_read"`
	CacheWrite   int64 `json:"cache_write"`    // kept for five minutes
	CacheWrite1h int64 `json:"cache_write_1h"` // kept for an hour
	Output       int64 `json:"output"`
	Reasoning    int64 `json:"reasoning"`
}

// Prompt is all that went in.
func (u Usage) Prompt() int64 { return u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h }

func (u Usage) plus(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, CacheRead: u.CacheRead + v.CacheRead,
		CacheWrite: u.CacheWrite + v.CacheWrite, CacheWrite1h: u.CacheWrite1h + v.CacheWrite1h,
		Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
	}
}

// Price is what a model costs, in nano-dollars (1e-9 USD) a million tokens.
type Price struct {
	Input        int64 `json:"input"`
	CacheRead    int64 `json:"cache_read"`
	CacheWrite   int64 `json:"cache_write"`
	CacheWrite1h int64 `json:"cache_write_1h"`
	Output       int64 `json:"output"`
	Reasoning    int64 `json:"reasoning"`
}

// Cost is what a usage costs, in nano-dollars, rounded up once.
func (p Price) Cost(u Usage) int64 {
	const million = 1_000_000
	// 128 bits: a million dollars at a dollar a token would not fit into 64.
	var high, low uint64
	for _, term := range [...]struct{ tokens, rate int64 }{
		{u.Input, p.Input},
		{u.CacheRead, p.CacheRead},
		{u.CacheWrite, p.CacheWrite},
		{u.CacheWrite1h, p.CacheWrite1h},
		{u.Output - u.Reasoning, p.Output},
		{u.Reasoning, p.Reasoning},
		{1, million - 1}, // up, once
	} {
		h, l := bits.Mul64(uint64(term.tokens), uint64(term.rate))
		var carry uint64
		low, carry = bits.Add64(low, l, 0)
		high, _ = bits.Add64(high, h, carry)
	}
	quotient, _ := bits.Div64(high, low, million)
	return int64(quotient)
}

// Model is a model that is served.
type Model struct {
	Name string `json:"name"`
	// Providers serve it.
	Providers []Provider `json:"providers"`
	// Price is in nano-dollars a million tokens.
	Price Price `json:"price"`
	// Reasons says that it thinks before it answers.
	Reasons bool `json:"reasons"`
	// Name as Anthropic's list displays it.
	display string
}

// Models are all that are served. Some rates are no whole number of
// nano-dollars a token, so that who rounds each term apart is found out; and
// reasoning has a rate of its own, so that who adds it to the output twice is,
// too.
var Models = []Model{
	{
		Name: "sandbox-small", display: "Sandbox Small", Providers: Providers,
		Price: Price{Input: 137_500_001, CacheRead: 13_750_001, CacheWrite: 171_875_001, CacheWrite1h: 275_000_001, Output: 550_000_001, Reasoning: 550_000_001},
	},
	{
		Name: "sandbox-large", display: "Sandbox Large", Providers: Providers,
		Price: Price{Input: 3_000_000_000, CacheRead: 300_000_000, CacheWrite: 3_750_000_000, CacheWrite1h: 6_000_000_000, Output: 15_000_000_000, Reasoning: 15_000_000_000},
	},
	{
		Name: "sandbox-reasoning", display: "Sandbox Reasoning", Providers: Providers, Reasons: true,
		Price: Price{Input: 1_100_000_000, CacheRead: 275_000_000, CacheWrite: 1_375_000_000, CacheWrite1h: 2_200_000_000, Output: 4_400_000_000, Reasoning: 3_300_000_000},
	},
	{
		Name: "gpt-sandbox", display: "GPT Sandbox", Providers: []Provider{OpenAI},
		Price: Price{Input: 2_500_000_000, CacheRead: 1_250_000_000, CacheWrite: 2_500_000_000, CacheWrite1h: 2_500_000_000, Output: 10_000_000_000, Reasoning: 10_000_000_000},
	},
	{
		Name: "claude-sandbox", display: "Claude Sandbox", Providers: []Provider{Anthropic},
		Price: Price{Input: 5_000_000_000, CacheRead: 500_000_000, CacheWrite: 6_250_000_000, CacheWrite1h: 10_000_000_000, Output: 25_000_000_000, Reasoning: 25_000_000_000},
	},
}

// modelOf finds a model that a provider serves.
func modelOf(p Provider, name string) (Model, bool) {
	for _, m := range Models {
		if m.Name == name && slices.Contains(m.Providers, p) {
			return m, true
		}
	}
	return Model{}, false
}

// modelsOf are those that a provider serves.
func modelsOf(p Provider) []Model {
	var served []Model
	for _, m := range Models {
		if slices.Contains(m.Providers, p) {
			served = append(served, m)
		}
	}
	return served
}
