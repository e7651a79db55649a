package limits

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestOpenAIsHeadersSayHowLongUntilTheReset(t *testing.T) {
	now := newClock().at
	requests, tokens := observed(headers(
		"x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "59", "x-ratelimit-reset-requests", "1s",
		"x-ratelimit-limit-tokens", "150000", "x-ratelimit-remaining-tokens", "149984", "x-ratelimit-reset-tokens", "6m0s",
	), now)
	require.Equal(t, newObservation(59, 60, now, now.Add(time.Second)), requests)
	require.Equal(t, newObservation(149984, 150000, now, now.Add(6*time.Minute)), tokens)
}

func TestAnthropicsHeadersSayWhenTheResetIs(t *testing.T) {
	now := newClock().at
	reset := now.Add(42 * time.Second).Format(time.RFC3339)
	h := headers(
		"anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "7", "anthropic-ratelimit-requests-reset", reset,
		"anthropic-ratelimit-tokens-limit", "90000", "anthropic-ratelimit-tokens-remaining", "80000", "anthropic-ratelimit-tokens-reset", reset,
		"anthropic-ratelimit-input-tokens-limit", "50000", "anthropic-ratelimit-input-tokens-remaining", "30000", "anthropic-ratelimit-input-tokens-reset", reset,
		"anthropic-ratelimit-output-tokens-limit", "8000", "anthropic-ratelimit-output-tokens-remaining", "100", "anthropic-ratelimit-output-tokens-reset", reset,
	)
	requests, tokens := observed(h, now)
	require.Equal(t, newObservation(7, 50, now, now.Add(42*time.Second)), requests)
	require.EqualValues(t, 30000, tokens.left, "the least, but for output, of which the longest answer is reserved")
	h.Set("anthropic-ratelimit-output-tokens-remaining", "0")
	_, tokens = observed(h, now)
	require.Zero(t, tokens.left, "unless none is left")
}

func TestHeadersThatCannotBeUsedAreNotBelieved(t *testing.T) {
	now := newClock().at
	for name, h := range map[string]http.Header{
		"none":               {},
		"no reset":           headers("x-ratelimit-remaining-requests", "0"),
		"no count":           headers("x-ratelimit-reset-requests", "1s"),
		"a count that isn't": headers("x-ratelimit-remaining-requests", "few", "x-ratelimit-reset-requests", "1s"),
		"below zero":         headers("x-ratelimit-remaining-requests", "-1", "x-ratelimit-reset-requests", "1s"),
		"past":               headers("anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset", now.Add(-time.Second).Format(time.RFC3339)),
		"now":                headers("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "0s"),
		"not a time":         headers("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "soon"),
	} {
		requests, tokens := observed(h, now)
		require.Nil(t, requests, name)
		require.Nil(t, tokens, name)
	}
	requests, _ := observed(headers("x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "87600h"), now)
	require.Equal(t, now.Add(time.Hour), requests.reset, "nobody rests for ten years")
	requests, _ = observed(headers("x-ratelimit-remaining-requests", "9", "x-ratelimit-limit-requests", "5", "x-ratelimit-reset-requests", "2.5"), now)
	require.Equal(t, newObservation(9, 0, now, now.Add(2500*time.Millisecond)), requests, "seconds, and a limit that contradicts")
}
