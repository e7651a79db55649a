package limits

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// clock is a time that tests move.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func perMinute(requests, tokens int64) routes.Limit {
	return routes.Limit{RequestsPerMinute: requests, TokensPerMinute: tokens}
}

func TestATenantMayUseAMinutesWorthAtOnceAndThenAsMuchAsComes(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	limit := perMinute(60, 0)
	for range 60 {
		_, _, ok := tenants.Reserve("acme", limit, 1_000_000)
		require.True(t, ok, "tokens have no limit")
	}
	_, after, ok := tenants.Reserve("acme", limit, 1)
	require.False(t, ok)
	require.Equal(t, time.Second, after)
	_, _, ok = tenants.Reserve("other", limit, 1)
	require.True(t, ok, "each tenant has its own")
	c.advance(time.Second)
	_, _, ok = tenants.Reserve("acme", limit, 1)
	require.True(t, ok)
	_, _, ok = tenants.Reserve("acme", limit, 1)
	require.False(t, ok)
}

func TestARefusedRequestTakesNeitherATokenNorARequest(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	limit := perMinute(2, 100)
	_, _, ok := tenants.Reserve("acme", limit, 60)
	require.True(t, ok)
	for range 10 {
		_, after, ok := tenants.Reserve("acme", limit, 60) // for the tokens
		require.False(t, ok)
		require.Equal(t, 12*time.Second, after)
	}
	_, _, ok = tenants.Reserve("acme", limit, 40)
	require.True(t, ok, "40 tokens and a request are left")
	_, after, ok := tenants.Reserve("acme", limit, 0) // for the requests
	require.False(t, ok)
	require.Equal(t, 30*time.Second, after)
}

func TestWhatWasNotUsedIsGivenBackAndNoMore(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	limit := perMinute(0, 100)
	r, _, ok := tenants.Reserve("acme", limit, 100)
	require.True(t, ok)
	r.Correct(30)
	_, _, ok = tenants.Reserve("acme", limit, 71)
	require.False(t, ok)
	r, _, ok = tenants.Reserve("acme", limit, 70)
	require.True(t, ok)
	c.advance(time.Minute) // full again
	r.Correct(0)
	_, _, ok = tenants.Reserve("acme", limit, 100)
	require.True(t, ok)
	_, _, ok = tenants.Reserve("acme", limit, 1)
	require.False(t, ok, "a bucket holds no more than it holds")
}

func TestWhatWasUsedBeyondIsADebt(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	limit := perMinute(0, 60)
	r, _, _ := tenants.Reserve("acme", limit, 60)
	r.Correct(120)
	_, after, ok := tenants.Reserve("acme", limit, 1)
	require.False(t, ok)
	require.Equal(t, 61*time.Second, after)
	Reservation{}.Correct(5)
}

func TestARequestLargerThanTheBucketWaitsUntilItIsFull(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	limit := perMinute(0, 60)
	_, _, ok := tenants.Reserve("acme", limit, 180)
	require.True(t, ok)
	_, after, ok := tenants.Reserve("acme", limit, 180)
	require.False(t, ok)
	require.Equal(t, 3*time.Minute, after, "the debt first")
	c.advance(after)
	_, _, ok = tenants.Reserve("acme", limit, 180)
	require.True(t, ok)
}

func TestANewLimitHoldsAtOnceAndWhatWasUsedCountsOn(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	_, _, ok := tenants.Reserve("acme", perMinute(0, 100), 90)
	require.True(t, ok)
	_, _, ok = tenants.Reserve("acme", perMinute(0, 1000), 11)
	require.False(t, ok, "a higher limit fills faster, but does not fill at once")
	c.advance(time.Minute)
	_, _, ok = tenants.Reserve("acme", perMinute(0, 1000), 1000)
	require.True(t, ok)
	_, _, ok = tenants.Reserve("acme", perMinute(0, 0), 1_000_000)
	require.True(t, ok, "without a limit all is allowed")
	c.advance(time.Hour)
	_, _, ok = tenants.Reserve("acme", perMinute(0, 10), 11)
	require.True(t, ok, "a new limit begins with a full bucket")
	_, _, ok = tenants.Reserve("acme", perMinute(0, 10), 1)
	require.False(t, ok)
}

func TestAClockThatGoesBackGivesNothingTwice(t *testing.T) {
	c := newClock()
	tenants := newTenants(10, c.now)
	limit := perMinute(60, 0)
	for range 60 {
		tenants.Reserve("acme", limit, 0)
	}
	c.advance(-time.Hour)
	_, _, ok := tenants.Reserve("acme", limit, 0)
	require.False(t, ok)
	c.advance(time.Hour)
	_, _, ok = tenants.Reserve("acme", limit, 0)
	require.False(t, ok)
}

func TestMemoryIsBoundedAndFullBucketsGoFirst(t *testing.T) {
	c := newClock()
	tenants := newTenants(100, c.now)
	limit := perMinute(1, 0)
	for i := range 1000 {
		tenants.Reserve(fmt.Sprint("a", i), limit, 0)
		require.LessOrEqual(t, tenants.buckets.size(), 100)
	}
	require.Equal(t, 100, tenants.buckets.size())
	_, _, ok := tenants.Reserve("a999", limit, 0)
	require.False(t, ok, "who was there last is remembered")
	c.advance(2 * time.Minute)
	for i := range 200 {
		tenants.Reserve(fmt.Sprint("b", i%10), limit, 0)
	}
	require.LessOrEqual(t, tenants.buckets.size(), 90, "those that are full make room")
	for i := range 200 {
		tenants.Reserve(fmt.Sprint("c", i), perMinute(0, 0), 5)
	}
	require.LessOrEqual(t, tenants.buckets.size(), 12, "those without a limit do too")
}

func TestWhoWasNotSeenForTheLongestGoesFirst(t *testing.T) {
	c := newClock()
	tenants := newTenants(2, c.now)
	limit := perMinute(2, 0)
	for _, tenant := range []string{"a", "b", "a", "b", "a", "c"} {
		tenants.Reserve(tenant, limit, 0)
	}
	_, _, ok := tenants.Reserve("a", limit, 0)
	require.False(t, ok, "a was seen just before c")
}

// TestNoWindowSeesMoreThanItsShare holds what is used, not what was reserved, to
// the limit: in any time, a bucket and what flowed in.
func TestNoWindowSeesMoreThanItsShare(t *testing.T) {
	type use struct {
		at     time.Time
		actual int64
	}
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		tenants := newTenants(10, c.now)
		tokens := rapid.Int64Range(1, 100_000).Draw(t, "limit")
		limit := perMinute(0, tokens)
		type held struct {
			Reservation
			actual int64
		}
		var open []held
		var uses []use
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c.advance(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "advance")))
			if len(open) > 0 && rapid.Bool().Draw(t, "ends") {
				open[0].Correct(open[0].actual)
				open = open[1:]
				continue
			}
			worst := rapid.Int64Range(0, tokens).Draw(t, "worst")
			if r, _, ok := tenants.Reserve("acme", limit, worst); ok {
				actual := rapid.Int64Range(0, worst).Draw(t, "actual")
				open = append(open, held{r, actual})
				uses = append(uses, use{c.at, actual})
			}
		}
		for i := range uses {
			var sum int64
			for j := i; j < len(uses); j++ {
				sum += uses[j].actual
				share := float64(tokens) * (1 + uses[j].at.Sub(uses[i].at).Minutes())
				require.LessOrEqual(t, float64(sum), share+0.001)
			}
		}
	})
}

// TestWhenAllIsCorrectedTheBucketIsWhereActualUseWouldHavePutIt compares with a
// bucket that knew from the beginning what would be used.
func TestWhenAllIsCorrectedTheBucketIsWhereActualUseWouldHavePutIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		knowing, learning := newTenants(10, c.now), newTenants(10, c.now)
		limit := perMinute(0, 1000)
		var open []func()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c.advance(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "advance")))
			if len(open) > 0 && rapid.Bool().Draw(t, "ends") {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				open[i]()
				open = append(open[:i], open[i+1:]...)
				continue
			}
			worst := rapid.Int64Range(0, 700).Draw(t, "worst")
			r, _, ok := learning.Reserve("acme", limit, worst)
			if !ok {
				continue
			}
			actual := rapid.Int64Range(0, worst).Draw(t, "actual")
			_, _, ok = knowing.Reserve("acme", limit, actual)
			require.True(t, ok, "what is used is always there")
			open = append(open, func() { r.Correct(actual) })
		}
		for _, end := range open {
			end()
		}
		level := func(tenants *Tenants) float64 {
			return tenants.buckets.pair("acme", rate{tokens: 1000}, c.now()).tokens.level
		}
		require.InDelta(t, level(knowing), level(learning), 1e-6)
	})
}

// TestRetryAfterIsWhenThereIsEnoughAndNotBefore asks at that time, and just before.
func TestRetryAfterIsWhenThereIsEnoughAndNotBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		tenants := newTenants(10, c.now)
		tokens := rapid.Int64Range(0, 1_000_000).Draw(t, "tokens")
		limit := perMinute(rapid.Int64Range(0, 1000).Draw(t, "requests"), tokens)
		for range 50 {
			c.advance(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "advance")))
			worst := rapid.Int64Range(0, min(300_000, tokens*20)).Draw(t, "worst")
			_, after, ok := tenants.Reserve("acme", limit, worst)
			require.Equal(t, ok, after == 0)
			if ok {
				continue
			}
			if early := after - 2*time.Millisecond; early > 0 {
				c.advance(early)
				_, _, ok = tenants.Reserve("acme", limit, worst)
				require.False(t, ok, "%v is too long", after)
				c.advance(after - early)
			} else {
				c.advance(after)
			}
			_, _, ok = tenants.Reserve("acme", limit, worst)
			require.True(t, ok, "%v is too short", after)
		}
	})
}
