package limits

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

var _ dispatch.Gate = (*Keys)(nil)

var (
	provider = &routes.Provider{Name: "p"}
	key      = routes.Key{Name: "k", MaxConcurrent: 1000}
)

func acquired(t require.TestingT, k *Keys, key routes.Key, tokens int64) func(int64) {
	release, _, err := k.Acquire(context.Background(), provider, key, tokens) // it waits for nobody
	require.NoError(t, err)
	return release
}

func TestAKeyThatIsUsedUpRestsInsteadOfBeingRefusedByItsProvider(t *testing.T) {
	c := newClock()
	k := newKeys(c.now)
	acquired(t, k, key, 10)(10)
	k.Observe(provider, key, headers("x-ratelimit-remaining-requests", "0", "x-ratelimit-limit-requests", "60", "x-ratelimit-reset-requests", "60s"))
	_, after, err := k.Acquire(t.Context(), provider, key, 10)
	require.ErrorIs(t, err, ErrRateLimited)
	require.Equal(t, time.Second, after, "it fills up evenly until the reset")
	acquired(t, k, routes.Key{Name: "other"}, 10)
	c.advance(time.Second)
	acquired(t, k, key, 10)
	_, after, err = k.Acquire(t.Context(), provider, key, 10)
	require.ErrorIs(t, err, ErrRateLimited, "one had come, and it is taken")
	require.Equal(t, time.Second, after)
}

func TestWithoutTheSizeOfTheLimitAKeyRestsUntilTheReset(t *testing.T) {
	c := newClock()
	k := newKeys(c.now)
	k.Observe(provider, key, headers("x-ratelimit-remaining-tokens", "100", "x-ratelimit-reset-tokens", "6m0s"))
	acquired(t, k, key, 90)
	_, after, err := k.Acquire(t.Context(), provider, key, 11)
	require.ErrorIs(t, err, ErrRateLimited)
	require.Equal(t, 6*time.Minute, after)
	acquired(t, k, key, 10)
	c.advance(6 * time.Minute)
	acquired(t, k, key, 1_000_000)
}

func TestTheProvidersCountGoesBeforeOursInBothDirectionsOnlyDown(t *testing.T) {
	c := newClock()
	k := newKeys(c.now)
	limited := key
	limited.RequestsPerMinute = 2
	acquired(t, k, limited, 0)
	k.Observe(provider, limited, headers("x-ratelimit-remaining-requests", "1000", "x-ratelimit-limit-requests", "1000", "x-ratelimit-reset-requests", "1s"))
	acquired(t, k, limited, 0)
	_, after, err := k.Acquire(t.Context(), provider, limited, 0)
	require.ErrorIs(t, err, ErrRateLimited, "the file's limit holds too")
	require.Equal(t, 30*time.Second, after)
}

func TestTokensThatWereNotUsedAreTheKeysAgain(t *testing.T) {
	c := newClock()
	k := newKeys(c.now)
	limited := key
	limited.TokensPerMinute = 100
	release := acquired(t, k, limited, 100)
	_, _, err := k.Acquire(t.Context(), provider, limited, 1)
	require.ErrorIs(t, err, ErrRateLimited)
	release(20)
	acquired(t, k, limited, 80)
}

func TestAnAttemptThatIsRefusedHoldsNoPlace(t *testing.T) {
	c := newClock()
	k := newKeys(c.now)
	limited := routes.Key{Name: "k", MaxConcurrent: 1, TokensPerMinute: 10}
	whole := &routes.Provider{Name: "p", MaxConcurrent: 1}
	for range 3 {
		_, _, err := k.Acquire(t.Context(), whole, limited, 5)
		if err == nil {
			continue
		}
		require.ErrorIs(t, err, ErrQueueFull)
	}
	running, waiting := k.queue(keyName{"p", "k"}, 1, 0).Load()
	require.Equal(t, [2]int{1, 0}, [2]int{running, waiting})

	k = newKeys(c.now)
	release, _, err := k.Acquire(t.Context(), whole, limited, 10)
	require.NoError(t, err)
	release(10)
	_, _, err = k.Acquire(t.Context(), whole, limited, 10)
	require.ErrorIs(t, err, ErrRateLimited)

	// There was enough when it began to wait, and is not when it has its turn.
	k = newKeys(c.now)
	limited.MaxQueued = 1
	release, _, err = k.Acquire(t.Context(), whole, limited, 5)
	require.NoError(t, err)
	refused := make(chan error)
	go func() { _, _, err := k.Acquire(t.Context(), whole, limited, 5); refused <- err }()
	waitsFor(t, k.queue(keyName{"p", "k"}, 1, 1), 1)
	release(10)
	require.ErrorIs(t, <-refused, ErrRateLimited)
	for _, name := range []keyName{{"p", "k"}, {provider: "p"}} {
		running, _ := k.queue(name, 1, 0).Load()
		require.Zero(t, running, name)
	}
}

func TestAProvidersConcurrencyIsThatOfAllItsKeys(t *testing.T) {
	k := newKeys(newClock().now)
	whole := &routes.Provider{Name: "p", MaxConcurrent: 2}
	one, two := routes.Key{Name: "one", MaxConcurrent: 5, MaxQueued: 5}, routes.Key{Name: "two", MaxConcurrent: 5, MaxQueued: 5}
	_, _, err := k.Acquire(t.Context(), whole, one, 0)
	require.NoError(t, err)
	release, _, err := k.Acquire(t.Context(), whole, two, 0)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error)
	go func() { _, _, err := k.Acquire(ctx, whole, two, 0); cancelled <- err }()
	waitsFor(t, k.queue(keyName{provider: "p"}, 2, 1<<30), 1)
	cancel()
	require.ErrorIs(t, <-cancelled, context.Canceled)
	running, _ := k.queue(keyName{"p", "two"}, 5, 5).Load()
	require.Equal(t, 1, running, "whoever gave up waiting holds no place of its key")
	release(0)
	_, _, err = k.Acquire(t.Context(), whole, one, 0)
	require.NoError(t, err)
}

// TestUntilTheNextAnswerNoMoreIsSentThanTheProviderSaidIsLeft is what rests a key.
func TestUntilTheNextAnswerNoMoreIsSentThanTheProviderSaidIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		k := newKeys(c.now)
		full := rapid.Int64Range(1, 500).Draw(t, "full")
		left := rapid.Int64Range(0, full).Draw(t, "left")
		reset := time.Duration(rapid.Int64Range(1, 600).Draw(t, "seconds")) * time.Second
		k.Observe(provider, key, headers(
			"x-ratelimit-remaining-requests", fmt.Sprint(left), "x-ratelimit-limit-requests", fmt.Sprint(full), "x-ratelimit-reset-requests", reset.String(),
		))
		var sent int64
		end := c.at.Add(reset)
		for start := c.at; c.at.Before(end); c.advance(time.Duration(rapid.Int64Range(1, int64(reset/3+1)).Draw(t, "advance"))) {
			for range rapid.IntRange(0, 50).Draw(t, "tries") {
				_, after, err := k.Acquire(t.Context(), provider, key, 5)
				if err != nil {
					require.LessOrEqual(t, after, end.Sub(c.at)+time.Millisecond)
					break
				}
				sent++
				come := float64(full-left) * float64(c.at.Sub(start)) / float64(reset)
				require.LessOrEqual(t, float64(sent), float64(left)+come+0.001)
			}
		}
	})
}
