package ratelimit

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// clock is a time that tests set.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Unix(1_800_000_000, 0)} }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

// newTestLimiter is a limiter of ten a second, four at once.
func newTestLimiter(keys int) (*Limiter[string], *clock) {
	c := newClock()
	l := NewLimiter[string](Quota{Name: "test", Rate: 10, Burst: 4}, keys)
	l.now = func() time.Time { return c.now }
	return l, c
}

func TestABurstPassesAndTheNextOneIsToldWhenToComeBack(t *testing.T) {
	l, c := newTestLimiter(10)
	for left := 3; left >= 0; left-- {
		d := l.Take("a")
		require.True(t, d.Allowed)
		require.Equal(t, 4, d.Limit)
		require.Equal(t, left, d.Remaining)
		require.Equal(t, 100*time.Millisecond, d.Reset, "until there is one more")
		require.Zero(t, d.RetryAfter)
		require.NoError(t, d.Err())
	}
	refused := l.Take("a")
	require.False(t, refused.Allowed)
	require.Zero(t, refused.Remaining)
	require.Equal(t, 100*time.Millisecond, refused.RetryAfter)

	c.pass(refused.RetryAfter - time.Millisecond)
	require.False(t, l.Take("a").Allowed, "too early")
	c.pass(time.Millisecond)
	require.True(t, l.Take("a").Allowed, "when it was told to")
	require.False(t, l.Take("a").Allowed, "and one only")
}

func TestWhatIsRefusedTakesNothing(t *testing.T) {
	l, c := newTestLimiter(10)
	for range 1000 {
		l.Take("a")
	}
	c.pass(100 * time.Millisecond)
	require.True(t, l.Take("a").Allowed, "asking does not keep it out for longer")
}

func TestKeysDoNotShare(t *testing.T) {
	l, _ := newTestLimiter(10)
	for range 5 {
		l.Take("a")
	}
	require.False(t, l.Take("a").Allowed)
	require.True(t, l.Take("b").Allowed)
}

func TestAPauseSavesUpABurstAndNoMore(t *testing.T) {
	l, c := newTestLimiter(10)
	l.Take("a")
	c.pass(time.Hour)
	for range 4 {
		require.True(t, l.Take("a").Allowed)
	}
	require.False(t, l.Take("a").Allowed)
}

func TestPeekingTakesNothingAndRemembersNobody(t *testing.T) {
	l, _ := newTestLimiter(10)
	for range 100 {
		require.True(t, l.Peek("a").Allowed)
	}
	require.Equal(t, 4, l.Peek("a").Remaining)
	require.Zero(t, l.Peek("a").Reset, "there will never be more")
	require.Zero(t, l.Keys())
	for range 4 {
		l.Take("a")
	}
	d := l.Peek("a")
	require.False(t, d.Allowed)
	require.Equal(t, 100*time.Millisecond, d.RetryAfter)
}

// TestAClockThatRunsBackwardsGivesNothing: rate.Limiter alone would give the
// time in between again.
func TestAClockThatRunsBackwardsGivesNothing(t *testing.T) {
	l, c := newTestLimiter(10)
	for range 3 {
		l.Take("a")
	}
	c.pass(-time.Minute)
	require.True(t, l.Take("a").Allowed, "the last one of the burst")
	c.pass(time.Minute)
	require.False(t, l.Take("a").Allowed, "no time has passed")
}

func TestManyKeysDoNotGrowMemory(t *testing.T) {
	l, _ := newTestLimiter(100)
	for n := range 10_000 {
		require.True(t, l.Take(fmt.Sprint(n)).Allowed, "a flood tightens the limit for nobody")
	}
	require.Equal(t, 100, l.Keys())
	require.Len(t, l.buckets, 100)
}

func TestTheLeastRecentlySeenKeyIsForgottenFirst(t *testing.T) {
	for name, look := range map[string]func(*Limiter[string], string) Decision{
		"taken from": (*Limiter[string]).Take, "looked at": (*Limiter[string]).Peek,
	} {
		l, _ := newTestLimiter(3)
		for range 4 {
			l.Take("busy")
		}
		for n := range 1000 { // each pushes another one out
			l.Take(fmt.Sprint(n))
			require.False(t, look(l, "busy").Allowed, name)
		}
	}
}

func TestAKeyWhoseBucketIsFullAgainIsForgotten(t *testing.T) {
	l, c := newTestLimiter(100)
	l.Take("a")
	c.pass(200 * time.Millisecond)
	l.Take("b")
	require.Equal(t, 2, l.Keys())
	c.pass(200 * time.Millisecond) // a was empty at worst, and is full after 400 ms
	require.Equal(t, 1, l.Keys())

	for n := range 50 {
		l.Take(fmt.Sprint(n))
	}
	c.pass(time.Second)
	for n := range 25 {
		l.Take(fmt.Sprint(n, "new"))
	}
	require.LessOrEqual(t, len(l.buckets), 26, "new keys sweep out the old ones, two each")
}

func TestManyGoroutinesGetWhatThereIsAndNoMore(t *testing.T) {
	c := newClock()
	l := NewLimiter[int](Quota{Name: "test", Rate: 1, Burst: 100}, 8)
	l.now = func() time.Time { return c.now }
	var allowed [4]atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 400 {
				if l.Take(n % 4).Allowed {
					allowed[n%4].Add(1)
				}
				l.Peek(n % 16)
				l.Keys()
			}
		})
	}
	all.Wait()
	for key := range allowed {
		require.Equal(t, int64(100), allowed[key].Load())
	}
}

// TestNobodyEverGetsMoreThanABurstAndTheRate is the definition of a token
// bucket, for any quota, any pattern of calls and any clock; and who comes back
// when told is let in.
func TestNobodyEverGetsMoreThanABurstAndTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := Quota{Name: "any", Rate: rapid.Float64Range(0.01, 1e4).Draw(t, "rate"), Burst: rapid.IntRange(1, 50).Draw(t, "burst")}
		c := newClock()
		l := NewLimiter[string](q, 1)
		l.now = func() time.Time { return c.now }
		l.Keys() // sees the clock
		began, latest, allowed := c.now, c.now, 0
		take := func() Decision {
			d := l.Take("a")
			if d.Allowed {
				allowed++
			}
			if c.now.After(latest) {
				latest = c.now
			}
			most := float64(q.Burst) + q.Rate*latest.Sub(began).Seconds()
			if float64(allowed) > most+1e-3 { // rate.Limiter rounds to whole nanoseconds
				t.Fatalf("%d passed where %f may", allowed, most)
			}
			if d.Remaining < 0 || d.Remaining > d.Limit || d.Allowed != (d.RetryAfter == 0) {
				t.Fatalf("%+v", d)
			}
			return d
		}
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			c.pass(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(t, "pause")))
			if d := take(); !d.Allowed {
				c.now = latest.Add(d.RetryAfter)
				if !take().Allowed {
					t.Fatalf("told to come back after %v, and refused", d.RetryAfter)
				}
			}
		}
	})
}

func TestATinyRateHasARetryAfterThatCanBeTold(t *testing.T) {
	l := NewLimiter[string](Quota{Name: "tiny", Rate: math.SmallestNonzeroFloat64, Burst: 1}, 1)
	require.True(t, l.Take("a").Allowed)
	d := l.Take("a")
	require.False(t, d.Allowed)
	require.Equal(t, 365*24*time.Hour, d.RetryAfter)
}
