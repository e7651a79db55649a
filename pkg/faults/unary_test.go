//go:build faults

package faults

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestNothingIsInjectedUntilSomebodyAsks(t *testing.T) {
	w := start(t)
	require.NoError(t, w.client().call(buy))
	require.Empty(t, w.shown().Rules)
}

// TestAnErrorHasTheShapeOfEveryOther: clients decide by reason and retry, so an
// injected error without them would test a client that does not exist.
func TestAnErrorHasTheShapeOfEveryOther(t *testing.T) {
	w := start(t)
	c := w.client()
	for code, reason := range reasonOf {
		w.put(`{"rules": [{"method": "` + buy + `", "percent": 100, "fault": "error", "code": "` + code + `"}]}`)
		err := c.call(buy)
		var named codes.Code
		require.NoError(t, named.UnmarshalJSON([]byte(`"`+code+`"`)))
		require.Equal(t, named, status.Code(err), code)
		got, typed := apierror.ReasonOf(err)
		require.True(t, typed, code)
		require.Equal(t, reason, got)
	}
	w.put(`{"rules": [{"method": "` + buy + `", "percent": 100, "fault": "error"}]}`)
	require.Equal(t, codes.Unavailable, status.Code(c.call(buy)), "unless it says otherwise")
	require.Zero(t, w.bought.Load(), "the handler was not reached")
}

// TestAfterTheHandlerTheEffectStaysAndTheAnswerIsLost is what idempotency keys
// are for.
func TestAfterTheHandlerTheEffectStaysAndTheAnswerIsLost(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [{"method": "` + buy + `", "percent": 100, "fault": "error", "when": "after"}]}`)
	require.Equal(t, codes.Unavailable, status.Code(w.client().call(buy)))
	require.EqualValues(t, 1, w.bought.Load())
}

func TestOnlyTheMethodsThatARuleNamesHaveItsFault(t *testing.T) {
	w := start(t)
	c := w.client()
	for pattern, hit := range map[string]map[string]bool{
		buy:            {buy: true},
		"/toys.Toys/*": {buy: true, look: true},
		"*":            {buy: true, look: true, other: true},
	} {
		w.put(`{"rules": [{"method": "` + pattern + `", "percent": 100, "fault": "error"}]}`)
		for _, method := range []string{buy, look, other} {
			require.Equal(t, hit[method], c.call(method) != nil, "%s for %s", method, pattern)
		}
	}
}

func TestLatencyIsWhatTheRuleSays(t *testing.T) {
	w := start(t)
	c := w.client()
	for _, when := range []string{before, after} {
		w.put(`{"rules": [{"method": "*", "percent": 100, "fault": "latency", "latency": "60ms", "jitter": "30ms", "when": "` + when + `"}]}`)
		began := time.Now()
		require.NoError(t, c.call(buy), "slow is not wrong")
		require.GreaterOrEqual(t, time.Since(began), 60*time.Millisecond)
	}
	require.EqualValues(t, 2, w.bought.Load())

	r := prepare(1, []*rule{{Method: "*", Percent: 100, Fault: faultLatency, latency: time.Second, jitter: time.Second}}, methods{buy: false}).rules[0]
	least, most := 2*time.Second, time.Second
	for range 1000 {
		f, _ := r.draw()
		least, most = min(least, f.delay), max(most, f.delay)
	}
	require.GreaterOrEqual(t, least, time.Second)
	require.Less(t, least, 1100*time.Millisecond, "jitter reaches down to the fixed part")
	require.LessOrEqual(t, most, 2*time.Second)
	require.Greater(t, most, 1900*time.Millisecond, "and up to all of it")
}

// TestLatencyEndsWithTheCall: a handler that nobody waits for must not be held.
func TestLatencyEndsWithTheCall(t *testing.T) {
	for _, when := range []string{before, after} {
		w := start(t)
		w.put(`{"rules": [{"method": "*", "percent": 100, "fault": "latency", "latency": "10s", "when": "` + when + `"}]}`)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_ = w.client().Invoke(ctx, buy, wrapperspb.Int64(0), new(wrapperspb.Int64Value)) // the client gives up by itself
		reason, _ := apierror.ReasonOf(<-w.returned)
		require.Contains(t, []apierror.Reason{apierror.ReasonDeadline, apierror.ReasonCancelled}, reason, "the server, too")
		require.Less(t, time.Since(began), 5*time.Second)
		require.Equal(t, when == after, w.bought.Load() == 1, when)
	}
}

// TestEachRuleDecidesByItself: slow, and then wrong.
func TestEachRuleDecidesByItself(t *testing.T) {
	w := start(t)
	w.put(`{"rules": [
		{"method": "*", "percent": 100, "fault": "latency", "latency": "40ms"},
		{"method": "/toys.Toys/*", "percent": 100, "fault": "error", "code": "ABORTED"},
		{"method": "*", "percent": 100, "fault": "error", "code": "INTERNAL"}]}`)
	began := time.Now()
	require.Equal(t, codes.Aborted, status.Code(w.client().call(buy)))
	require.GreaterOrEqual(t, time.Since(began), 40*time.Millisecond)
	rules := w.shown().Rules
	require.EqualValues(t, 1, rules[0].Applied)
	require.EqualValues(t, 1, rules[1].Applied)
	require.EqualValues(t, 1, rules[2].Calls)
	require.Zero(t, rules[2].Applied, "the first error is the last")
}

// fates has calls of one method hit or missed, with calls of another between
// them, and returns which were hit.
func fates(w *world, seed, rule string) (hits []bool) {
	w.put(`{"seed": ` + seed + `, "rules": [` + rule + `, {"method": "` + look + `", "percent": 50, "fault": "error"}]}`)
	c := w.client()
	for n := range 200 {
		hits = append(hits, c.call(buy) != nil)
		for range n % 3 {
			_ = c.call(look)
		}
	}
	return hits
}

// TestOneSeedOneStory: a run that found something can be had again.
func TestOneSeedOneStory(t *testing.T) {
	const quarter = `{"method": "` + buy + `", "percent": 25, "fault": "error"}`
	w := start(t)
	first := fates(w, "7", quarter)
	require.Equal(t, first, fates(w, "7", quarter))
	require.NotEqual(t, first, fates(w, "8", quarter))

	hits := 0
	for _, hit := range first {
		if hit {
			hits++
		}
	}
	require.InDelta(t, 50, hits, 25, "about a quarter of 200")
	require.EqualValues(t, 200, w.shown().Rules[0].Calls)
	require.EqualValues(t, 8, *w.shown().Seed)
}

// TestAMadeUpSeedIsShownAndTellsTheSameStory: nobody thinks of a seed before
// something happens.
func TestAMadeUpSeedIsShownAndTellsTheSameStory(t *testing.T) {
	w := start(t)
	rules := `[{"method": "*", "percent": 50, "fault": "error"}]`
	story := func() (hits [64]bool) {
		c := w.client()
		for n := range hits {
			hits[n] = c.call(buy) != nil
		}
		return hits
	}
	one := w.put(`{"rules": ` + rules + `}`)
	first := story()
	two := w.put(`{"rules": ` + rules + `}`)
	require.NotEqual(t, *one.Seed, *two.Seed)
	body, err := wrapSeed(*one.Seed, rules)
	require.NoError(t, err)
	w.put(body)
	require.Equal(t, first, story())
}
