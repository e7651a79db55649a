package price_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// FuzzParse holds whatever is in a file to what the ledger relies on: no price is
// negative, and none costs more than its worst case.
func FuzzParse(f *testing.F) {
	f.Add([]byte(dated))
	f.Add([]byte(`prices: [{provider: a, model: "*", from: 2025-01-01, input: "1", output: "2", long_prompt: {above: 10, input: "3", output: "4"}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := price.Parse("f.yaml", data)
		if err != nil {
			var mistake *price.Mistake
			require.True(t, errors.As(err, &mistake), "%v", err)
			return
		}
		for _, provider := range []string{"a", "openai", "local"} {
			p, ok := table.Lookup(provider, "gpt-5", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			if !ok {
				continue
			}
			used := wire.Usage{Input: 4, CacheRead: 3, CacheWrite: 2, CacheWrite1h: 2, Output: 9, Reasoning: 4}
			require.NotEmpty(t, p.Version)
			require.GreaterOrEqual(t, p.Cost(used), int64(0))
			require.LessOrEqual(t, p.Cost(used), p.Worst(11, 9))
		}
	})
}
