package price_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
)

func parse(t *testing.T, text string) *price.Table {
	t.Helper()
	table, err := price.Parse("prices.yaml", []byte(text))
	require.NoError(t, err)
	return table
}

func day(text string) time.Time {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err) // a mistake of the test's author
	}
	return at
}

const dated = `
prices:
  - {provider: openai, model: gpt-5, from: 2025-08-07, input: "1.25", cache_read: "0.125", output: "10.00"}
  - {provider: openai, model: gpt-5, from: 2026-01-01, input: "1.00", output: "8"}
  - {provider: openai, model: gpt-5-mini-*, from: 2025-08-07, input: 0.25, output: 2}
  - {provider: openai, model: gpt-5-mini-2026-02-02, from: 2025-08-07, input: "0.30", output: "2"}
  - {provider: local, model: "*", from: 2025-01-01, input: "0", output: "0.000000001"}
`

func TestAPriceHoldsFromItsDayUntilTheNext(t *testing.T) {
	table := parse(t, dated)
	for at, version := range map[string]string{"2025-08-07": "2025-08-07", "2025-12-31": "2025-08-07", "2026-01-01": "2026-01-01", "2030-01-01": "2026-01-01"} {
		p, ok := table.Lookup("openai", "gpt-5", day(at))
		require.True(t, ok, at)
		require.Equal(t, version, p.Version, at)
	}
	_, ok := table.Lookup("openai", "gpt-5", day("2025-08-07").Add(-time.Nanosecond))
	require.False(t, ok, "before its first day nothing is known")
}

func TestADatedVersionOfAModelHasThePriceOfThePattern(t *testing.T) {
	table := parse(t, dated)
	for name, input := range map[string]int64{
		"gpt-5-mini":            250_000_000,
		"gpt-5-mini-2025-08-07": 250_000_000,
		"gpt-5-mini-20250807":   250_000_000,
		"gpt-5-mini-2026-02-02": 300_000_000, // said exactly
	} {
		p, ok := table.Lookup("openai", name, day("2026-06-01"))
		require.True(t, ok, name)
		require.Equal(t, input, p.Input, name)
	}
	for _, name := range []string{"gpt-5-mini-high", "gpt-5-mini-2025", "gpt-5-2025-08-07", "gpt-5-nano", "mini"} {
		_, ok := table.Lookup("openai", name, day("2026-06-01"))
		require.False(t, ok, name)
	}
}

func TestAStarIsEveryModelOfItsProviderOnly(t *testing.T) {
	table := parse(t, dated)
	p, ok := table.Lookup("local", "llama", day("2026-06-01"))
	require.True(t, ok)
	require.Equal(t, price.Price{Version: "2025-01-01", Rates: price.Rates{Output: 1, Reasoning: 1}}, p)
	_, ok = table.Lookup("elsewhere", "llama", day("2026-06-01"))
	require.False(t, ok)
}

func TestWhatIsNotSaidCostsWhatItsDirectionCosts(t *testing.T) {
	p, _ := parse(t, dated).Lookup("openai", "gpt-5", day("2026-06-01"))
	require.Empty(t, cmp.Diff(price.Price{
		Version: "2026-01-01",
		Rates:   price.Rates{Input: 1e9, CacheRead: 1e9, CacheWrite: 1e9, CacheWrite1h: 1e9, Output: 8e9, Reasoning: 8e9},
	}, p))
	p, _ = parse(t, dated).Lookup("openai", "gpt-5", day("2025-10-01"))
	require.EqualValues(t, 125_000_000, p.CacheRead, "said")
}

func TestLongPromptsHaveTheSameDefaultsAmongThemselves(t *testing.T) {
	p, _ := parse(t, `prices: [{provider: a, model: m, from: 2025-01-01, input: "1", output: "2", cache_read: "0.1", long_prompt: {above: 1000, input: "3", output: "4"}}]`).Lookup("a", "m", day("2026-01-01"))
	require.Equal(t, price.LongPrompt{Above: 1000, Rates: price.Rates{Input: 3e9, CacheRead: 3e9, CacheWrite: 3e9, CacheWrite1h: 3e9, Output: 4e9, Reasoning: 4e9}}, p.LongPrompt)
}

func TestEveryMistakeIsToldWithItsLine(t *testing.T) {
	_, err := price.Parse("prices.yaml", []byte(`prices:
  - {provider: a, model: m, from: 2025-08-07, input: "1.25", output: "10.00"}
  - {provider: a, model: m, from: 2025-08-07, input: "1.25", output: "10.00"}
  - {provider: a, model: n, from: yesterday, input: "1.25", output: "10.00"}
  - {provider: a, model: n, from: 2025-08-07, input: "1e3", output: "-1"}
  - {provider: a, model: n, from: 2025-08-07, input: "1.0000000001", output: "1000001"}
  - {provider: a, model: n*, from: 2025-08-07, input: "1", output: "1"}
  - {provider: a, model: n-20250101-*, from: 2025-08-07, input: "1", output: "1"}
  - {provider: a, model: o, from: 2025-08-07, input: "1", output: "1", cache_write: "2"}
  - {provider: a, model: p, from: 2025-08-07, input: "1", outptu: "1"}
  - {provider: a, model: q, from: 2025-08-07, input: "1", output: "1", long_prompt: {above: 0, input: "1"}}
extra: 1
`))
	require.Equal(t, []string{
		`prices.yaml:3: m of a has a price from 2025-08-07 in line 2 already`,
		`prices.yaml:4: a price's from must be a date, such as 2026-02-05`,
		`prices.yaml:5: a price's input must be dollars in digits, with at most nine decimals, such as 1.25`,
		`prices.yaml:5: a price's output must be dollars in digits, with at most nine decimals, such as 1.25`,
		`prices.yaml:6: a price's input must be dollars in digits, with at most nine decimals, such as 1.25`,
		`prices.yaml:6: a price's output is more than a dollar a token`,
		`prices.yaml:7: a price's model must be a name, a name with -* for its dated versions, or *`,
		`prices.yaml:8: a price's model must be a name, a name with -* for its dated versions, or *`,
		`prices.yaml:9: a price has one of cache_write and cache_write_1h; it must have both or neither`,
		`prices.yaml:10: a price may not have "outptu", but only cache_read, cache_write, cache_write_1h, from, input, long_prompt, model, output, provider, reasoning`,
		`prices.yaml:10: a price has no "output"`,
		`prices.yaml:11: a long_prompt's above must be 1 to 1000000000`,
		`prices.yaml:11: a long_prompt has no "output"`,
		`prices.yaml:12: the file may not have "extra", but only prices`,
	}, strings.Split(err.Error(), "\n"))
	var mistake *price.Mistake
	require.True(t, errors.As(err, &mistake))
	require.Equal(t, 3, mistake.Line)
}

func TestAFileWithoutPricesIsAMistake(t *testing.T) {
	for text, message := range map[string]string{
		"":                     "prices.yaml: it is empty: was it cut short?",
		"prices: []":           "prices.yaml:1: there are no prices",
		"prices:":              "prices.yaml:1: prices has no value; it must be a list",
		"{}":                   `prices.yaml:1: the file has no "prices"`,
		"prices: [{provider: ": "prices.yaml:1: it is not YAML: did not find expected node content",
	} {
		_, err := price.Parse("prices.yaml", []byte(text))
		require.EqualError(t, err, message, text)
	}
}

func TestDollarsAreReadExactly(t *testing.T) {
	for text, nanos := range map[string]int64{
		"0": 0, "1": 1e9, "1.25": 125e7, "0.000000001": 1, "100.00": 100e9, "9223372036": 9223372036e9, "007.5": 75e8,
	} {
		got, err := price.ParseDollars(text)
		require.NoError(t, err, text)
		require.Equal(t, nanos, got, text)
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0x1", "1_000", "1.0000000000", "9223372037", "99999999999999999999", " 1", "NaN", "١"} {
		_, err := price.ParseDollars(text)
		require.Error(t, err, text)
	}
}

func TestDollarsComeBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, nanos := rapid.Int64Range(0, 9_000_000_000).Draw(t, "dollars"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")
		got, err := price.ParseDollars(decimal(whole, nanos))
		require.NoError(t, err)
		require.Equal(t, whole*1_000_000_000+nanos, got)
	})
}

func decimal(whole, nanos int64) string { return fmt.Sprintf("%d.%09d", whole, nanos) }
