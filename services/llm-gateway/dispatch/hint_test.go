package dispatch

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

func TestHintsAreReadAsTheProvidersSDKsDo(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	yes, no := true, false
	for name, test := range map[string]struct {
		header http.Header
		want   Hint
	}{
		"nothing":                     {http.Header{}, Hint{}},
		"seconds":                     {http.Header{"Retry-After": {"7"}}, Hint{After: 7 * time.Second, Said: true}},
		"a fraction of a second":      {http.Header{"Retry-After": {"0.25"}}, Hint{After: 250 * time.Millisecond, Said: true}},
		"zero":                        {http.Header{"Retry-After": {"0"}}, Hint{Said: true}},
		"a date":                      {http.Header{"Retry-After": {"Mon, 04 May 2026 03:02:31 GMT"}}, Hint{After: 30 * time.Second, Said: true}},
		"a date that is past":         {http.Header{"Retry-After": {"Mon, 04 May 2026 03:00:00 GMT"}}, Hint{Said: true}},
		"milliseconds before seconds": {http.Header{"Retry-After-Ms": {"1500"}, "Retry-After": {"7"}}, Hint{After: 1500 * time.Millisecond, Said: true}},
		"unreadable milliseconds":     {http.Header{"Retry-After-Ms": {"soon"}, "Retry-After": {"7"}}, Hint{After: 7 * time.Second, Said: true}},
		"unreadable":                  {http.Header{"Retry-After": {"soon"}}, Hint{}},
		"negative":                    {http.Header{"Retry-After": {"-1"}}, Hint{}},
		"not a number":                {http.Header{"Retry-After": {"NaN"}}, Hint{}},
		"for ever":                    {http.Header{"Retry-After": {"1e300"}}, Hint{After: longestHint, Said: true}},
		"infinite":                    {http.Header{"Retry-After": {"Inf"}}, Hint{}},
		"should":                      {http.Header{"X-Should-Retry": {"true"}}, Hint{Should: &yes}},
		"should not":                  {http.Header{"X-Should-Retry": {"false"}, "Retry-After": {"1"}}, Hint{Should: &no, After: time.Second, Said: true}},
		"should, perhaps":             {http.Header{"X-Should-Retry": {"perhaps"}}, Hint{}},
	} {
		require.Equal(t, test.want, ReadHint(test.header, now), name)
	}
}

func TestNoHintIsLongerThanADayOrBelowZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`-?[0-9]{1,30}(\.[0-9]{1,5})?(e[0-9]{1,3})?`)).Draw(t, "value")
		hint := ReadHint(http.Header{"Retry-After": {text}, "Retry-After-Ms": {text}}, time.Now())
		if hint.After < 0 || hint.After > longestHint {
			t.Fatalf("%q is read as %v", text, hint.After)
		}
	})
}

func TestTheBackoffDoublesUpToItsBoundWithJitter(t *testing.T) {
	o := Options{Backoff: 500 * time.Millisecond, MaxBackoff: 8 * time.Second}
	for n, bound := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 4: 4 * time.Second, 5: 8 * time.Second, 6: 8 * time.Second, 1000: 8 * time.Second} {
		drawn := map[time.Duration]bool{}
		for range 100 {
			pause := o.backoff(n)
			require.LessOrEqual(t, pause, bound)
			require.GreaterOrEqual(t, pause, bound*3/4)
			drawn[pause] = true
		}
		require.Greater(t, len(drawn), 1)
	}
}

// TestTheProviderOverrulesTheTable by x-should-retry.
func TestTheProviderOverrulesTheTable(t *testing.T) {
	for _, p := range protocols {
		first := newUpstream(t, status(400, "e", "", "X-Should-Retry", "true"), answer(p))
		d := newDispatcher(t)
		got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, first.URL, "a1")), p, false))
		require.NoError(t, err)
		require.Equal(t, []string{"a/a1 invalid", "a/a1 ok"}, way(got.Path))

		first = newUpstream(t, status(500, "e", "", "X-Should-Retry", "false"))
		second := newUpstream(t, answer(p))
		route := chained(provided("a", p, first.URL, "a1"), provided("b", p, second.URL, "b1"))
		got, err = d.Do(t.Context(), asking(t, route, p, false))
		require.NoError(t, err)
		require.Equal(t, []string{"a/a1 server_error", "b/b1 ok"}, way(got.Path))

		f := failed(t, failing(d.Do(t.Context(), asking(t, chained(provided("a", p, first.URL, "a1")), p, false))))
		require.Equal(t, []string{"a/a1 server_error"}, way(f.Path), "nor in another round")
		require.True(t, f.Permanent)

		first = newUpstream(t, status(500, "e", "", "X-Should-Retry", "false"))
		second = newUpstream(t, status(503, "e", ""), answer(p))
		route = chained(provided("a", p, first.URL, "a1"), provided("b", p, second.URL, "b1"))
		got, err = d.Do(t.Context(), asking(t, route, p, false))
		require.NoError(t, err)
		require.Equal(t, []string{"a/a1 server_error", "b/b1 overloaded", "b/b1 ok"}, way(got.Path), "though there is one for the other")

		first = newUpstream(t, status(429, "e", "", "X-Should-Retry", "false", "Retry-After-Ms", "0"), status(429, "e", "", "Retry-After-Ms", "0"), answer(p))
		got, err = d.Do(t.Context(), asking(t, chained(provided("a", p, first.URL, "c1", "c2")), p, false))
		require.NoError(t, err)
		require.Equal(t, []string{"a/c1 rate_limited", "a/c2 rate_limited", "a/c2 ok"}, way(got.Path))
	}
}

// TestAHintIsWaitedForAndNoLess by the same target and by a key.
func TestAHintIsWaitedForAndNoLess(t *testing.T) {
	for name, code := range map[string]int{"the same target": 500, "a key": 429, "in another round": 529} {
		t.Run(name, func(t *testing.T) {
			first := newUpstream(t, status(code, "e", "", "Retry-After-Ms", "80"), answer(wire.OpenAI))
			d := newDispatcher(t)
			began := time.Now()
			got, err := d.Do(t.Context(), asking(t, chained(provided("a", wire.OpenAI, first.URL, "a1")), wire.OpenAI, false))
			require.NoError(t, err)
			require.Equal(t, 2, got.Attempts)
			require.GreaterOrEqual(t, time.Since(began), 80*time.Millisecond)
		})
	}
}

// TestAHintBeyondTheBudgetIsNotWaitedFor: the next target is asked, and without one
// the request fails at once and says when to come back.
func TestAHintBeyondTheBudgetIsNotWaitedFor(t *testing.T) {
	for _, code := range []int{429, 500, 503} {
		p := wire.Anthropic
		first := newUpstream(t, status(code, "e", "", "Retry-After", "3000"))
		second := newUpstream(t, answer(p))
		d := newDispatcher(t)
		began := time.Now()
		alone := chained(provided("a", p, first.URL, "a1"))
		f := failed(t, failing(d.Do(t.Context(), asking(t, alone, p, false))))
		require.Equal(t, 1, f.Attempts)
		require.Equal(t, 3000*time.Second, f.RetryAfter.Round(time.Second))
		require.EqualValues(t, 3000, f.RetryAfterSeconds())
		require.False(t, f.Permanent)
		require.Equal(t, statusFor(ruleOf(p, &wire.ProviderError{Status: code}).reason, nil), f.Status)

		d = newDispatcher(t)
		got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, first.URL, "a1"), provided("b", p, second.URL, "b1")), p, false))
		require.NoError(t, err)
		require.Equal(t, "b", got.Attempt.Provider)
		require.Equal(t, 2, got.Attempts)
		require.Less(t, time.Since(began), patience)
	}
}
