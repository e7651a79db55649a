package llm

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestACostIsRoundedUpOnce(t *testing.T) {
	p := Price{Input: 1, CacheRead: 1, CacheWrite: 1, CacheWrite1h: 1, Output: 1, Reasoning: 1}
	require.Equal(t, int64(0), p.Cost(Usage{}))
	require.Equal(t, int64(1), p.Cost(Usage{Input: 1, CacheRead: 1, CacheWrite: 1, Output: 1}), "four millionths are one")
	require.Equal(t, int64(1), p.Cost(Usage{Input: 500_000, Output: 500_000}), "exactly one")
	require.Equal(t, int64(2), p.Cost(Usage{Input: 500_000, Output: 500_001}))
}

func TestReasoningIsPartOfTheOutputAndHasItsOwnRate(t *testing.T) {
	p := Price{Output: 1_000_000, Reasoning: 10_000_000}
	require.Equal(t, int64(3+20), p.Cost(Usage{Output: 5, Reasoning: 2}))
}

func TestCostsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, name) }
		p := Price{Input: n("pi", 1e12), CacheRead: n("pr", 1e12), CacheWrite: n("pw", 1e12), CacheWrite1h: n("ph", 1e12), Output: n("po", 1e12), Reasoning: n("pt", 1e12)}
		u := Usage{Input: n("i", 1e9), CacheRead: n("r", 1e9), CacheWrite: n("w", 1e9), CacheWrite1h: n("h", 1e9), Output: n("o", 1e9)}
		u.Reasoning = n("t", u.Output)
		sum := new(big.Int)
		for _, term := range [][2]int64{{u.Input, p.Input}, {u.CacheRead, p.CacheRead}, {u.CacheWrite, p.CacheWrite}, {u.CacheWrite1h, p.CacheWrite1h}, {u.Output - u.Reasoning, p.Output}, {u.Reasoning, p.Reasoning}} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(term[0]), big.NewInt(term[1])))
		}
		sum.Add(sum, big.NewInt(999_999)).Div(sum, big.NewInt(1_000_000))
		require.Equal(t, sum.Int64(), p.Cost(u))
	})
}

func TestWhatModelsCostIsPublished(t *testing.T) {
	w := start(t)
	a := w.call("", "/llm/prices", "")
	require.Equal(t, 200, a.status)
	published := decode[struct{ Models []Model }](t, a.body).Models
	require.Len(t, published, len(Models))
	for i, m := range published {
		require.Equal(t, Models[i].Name, m.Name)
		require.Equal(t, Models[i].Price, m.Price)
	}
}
