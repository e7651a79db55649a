package dispatch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// touchy is a breaker that opens at the second failure, and probes with one call.
func touchy(openFor time.Duration) func(*Options) {
	return func(o *Options) {
		o.Breaker = DefaultBreaker()
		o.Breaker.BreakerMinCalls, o.Breaker.BreakerOpenFor, o.Breaker.BreakerProbes = 2, openFor, 1
	}
}

// TestOneRateLimitOpensNoBreaker and the key rests alone: not the other one, nor the
// model.
func TestOneRateLimitOpensNoBreaker(t *testing.T) {
	p := wire.OpenAI
	var limited atomic.Int64
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer secret-a1" {
			limited.Add(1)
			status(429, "e", "rate_limit_exceeded", "Retry-After", "100")(w, r)
			return
		}
		answer(p)(w, r)
	})
	d := newDispatcher(t, touchy(time.Hour))
	route := chained(provided("a", p, u.URL, "a1", "a2"))
	for range 20 {
		got, err := d.Do(t.Context(), asking(t, route, p, false))
		require.NoError(t, err)
		require.Equal(t, "a2", got.Attempt.Key)
	}
	require.EqualValues(t, 1, limited.Load())
	s := d.Status()[0]
	require.Equal(t, "closed", s.Breaker)
	require.Equal(t, "closed", s.Models[0].Breaker)
	require.Equal(t, RateLimited, s.Keys[0].Why)
	require.InDelta(t, 100, s.Keys[0].RestsFor, 5)
	require.Zero(t, s.Keys[1].RestsFor)
}

// TestWhenEveryKeyRestsTheNextTargetIsAsked, and without one the request fails at once and says
// when the first key is awake.
func TestWhenEveryKeyRestsTheNextTargetIsAsked(t *testing.T) {
	p := wire.Anthropic
	limit := func(seconds string) act { return status(429, "rate_limit_error", "", "Retry-After", seconds) }
	a, b := newUpstream(t, limit("500"), limit("300")), newUpstream(t, answer(p))
	d := newDispatcher(t)
	alone := chained(provided("a", p, a.URL, "a1", "a2"))
	f := failed(t, failing(d.Do(t.Context(), asking(t, alone, p, false))))
	require.Equal(t, []string{"a/a1 rate_limited", "a/a2 rate_limited"}, way(f.Path))

	f = failed(t, failing(d.Do(t.Context(), asking(t, alone, p, false))))
	require.Equal(t, []string{"a keys_resting"}, way(f.Path))
	require.Equal(t, KeysResting, f.Reason)
	require.Equal(t, 429, f.Status)
	require.InDelta(t, 300, f.RetryAfter.Seconds(), 10)
	require.False(t, f.Permanent)
	require.Len(t, a.requests(), 2)

	got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, a.URL, "a1", "a2"), provided("b", p, b.URL, "b1")), p, false))
	require.NoError(t, err)
	require.Equal(t, []string{"a keys_resting", "b/b1 ok"}, way(got.Path))
	require.Equal(t, 1, got.Attempts)
}

// TestAShortRestIsWaitedFor by requests that have nobody else to ask: it costs less
// than a failure.
func TestAShortRestIsWaitedFor(t *testing.T) {
	p := wire.OpenAI
	u := newUpstream(t, status(429, "rate_limit_error", "", "Retry-After-Ms", "500"), answer(p))
	d := newDispatcher(t, func(o *Options) { o.MaxBackoff = 5 * time.Second })
	alone := chained(provided("a", p, u.URL, "a1"))
	alone.Attempts = 1
	_ = failed(t, failing(d.Do(t.Context(), asking(t, alone, p, false))))
	got, err := d.Do(t.Context(), asking(t, alone, p, false))
	require.NoError(t, err)
	require.Equal(t, []string{"a keys_resting", "a/a1 ok"}, way(got.Path))
}

// TestAKeyThatIsNotAcceptedIsLeftAloneAndSaid until its secret is another.
func TestAKeyThatIsNotAcceptedIsLeftAloneAndSaid(t *testing.T) {
	p := wire.OpenAI
	u := newUpstream(t, status(401, "invalid_request_error", "invalid_api_key"), answer(p))
	d := newDispatcher(t)
	config := provided("a", p, u.URL, "a1")
	f := failed(t, failing(d.Do(t.Context(), asking(t, chained(config), p, false))))
	require.Equal(t, KeyBroken, f.Reason)
	require.Equal(t, 502, f.Status, "it is no 401 of the caller's")
	require.True(t, f.Permanent)
	require.Contains(t, d.logs.String(), "does not accept a key")
	require.Contains(t, d.logs.String(), "key=a1")
	f = failed(t, failing(d.Do(t.Context(), asking(t, chained(config), p, false))))
	require.Equal(t, KeysResting, f.Reason)
	require.Equal(t, 503, f.Status)
	require.True(t, f.Permanent)
	require.Len(t, u.requests(), 1)

	config = provided("a", p, u.URL, "a1")
	config.Keys[0].Secret = routes.NewSecret("another")
	_, err := d.Do(t.Context(), asking(t, chained(config), p, false))
	require.NoError(t, err)
}

// TestAModelThatFailsIsNotAskedAndOthersAre, until a probe succeeds.
func TestAModelThatFailsIsNotAskedAndOthersAre(t *testing.T) {
	p := wire.OpenAI
	var well atomic.Bool
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if well.Load() || r.Header.Get("X-Model") != "" {
			answer(p)(w, r)
			return
		}
		status(503, "e", "")(w, r)
	})
	d := newDispatcher(t, touchy(200*time.Millisecond))
	config := provided("a", p, u.URL, "a1")
	route := chained(config)
	route.Attempts = 2
	_ = failed(t, failing(d.Do(t.Context(), asking(t, route, p, false))))
	f := failed(t, failing(d.Do(t.Context(), asking(t, route, p, false))))
	require.Equal(t, BreakerOpen, f.Reason)
	require.Equal(t, 503, f.Status)
	require.Positive(t, f.RetryAfter)
	require.Len(t, u.requests(), 2)
	require.Equal(t, "closed", d.Status()[0].Breaker, "the provider is there")

	other := provided("a", p, u.URL, "a1")
	other.Headers = map[string]string{"X-Model": "other"}
	second := chained(other)
	second.Chain[0].Model = "other"
	_, err := d.Do(t.Context(), asking(t, second, p, false))
	require.NoError(t, err)

	well.Store(true)
	require.Eventually(t, func() bool { _, err := d.Do(t.Context(), asking(t, route, p, false)); return err == nil }, patience, 10*time.Millisecond)
	require.Equal(t, "closed", d.Status()[0].Models[0].Breaker)
}

// TestAProbeWhoseCallerLeavesMakesRoomForAnother.
func TestAProbeWhoseCallerLeavesMakesRoomForAnother(t *testing.T) {
	p := wire.OpenAI
	u := newUpstream(t, status(503, "e", ""), status(503, "e", ""), hang, answer(p))
	d := newDispatcher(t, touchy(50*time.Millisecond))
	route := chained(provided("a", p, u.URL, "a1"))
	route.Attempts = 2
	_ = failed(t, failing(d.Do(t.Context(), asking(t, route, p, false))))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		require.Eventually(t, func() bool { return len(u.requests()) == 3 }, patience, time.Millisecond)
		require.Equal(t, "half-open", d.Status()[0].Models[0].Breaker)
		cancel()
	}()
	require.Eventually(t, func() bool { return failed(t, failing(d.Do(ctx, asking(t, route, p, false)))).Reason == CallerLeft }, patience, 5*time.Millisecond)
	_, err := d.Do(t.Context(), asking(t, route, p, false))
	require.NoError(t, err)
	require.Equal(t, "closed", d.Status()[0].Models[0].Breaker)
}

// TestAProbeIsProvenByTheFirstContent: a stream may live for long.
func TestAProbeIsProvenByTheFirstContent(t *testing.T) {
	p := wire.OpenAI
	before, content, _ := split(t, p, recording(p, "first"))
	u := newUpstream(t, status(503, "e", ""), status(503, "e", ""), then(before+content, hang))
	d := newDispatcher(t, touchy(50*time.Millisecond))
	route := chained(provided("a", p, u.URL, "a1"))
	route.Attempts = 2
	_ = failed(t, failing(d.Do(t.Context(), asking(t, route, p, true))))
	require.Equal(t, "open", d.Status()[0].Models[0].Breaker)
	var got *Answer
	require.Eventually(t, func() bool {
		var err error
		got, err = d.Do(t.Context(), asking(t, route, p, true))
		return err == nil
	}, patience, 5*time.Millisecond)
	require.Equal(t, "closed", d.Status()[0].Models[0].Breaker)
	require.NoError(t, got.Stream.Close())
}

// TestAProviderThatCannotBeConnectedToIsDownForAllItsModels.
func TestAProviderThatCannotBeConnectedToIsDownForAllItsModels(t *testing.T) {
	p := wire.OpenAI
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	config := provided("a", p, "http://"+listener.Addr().String(), "a1")
	d := newDispatcher(t, touchy(time.Hour))
	route := chained(config)
	route.Attempts = 2
	_ = failed(t, failing(d.Do(t.Context(), asking(t, route, p, false))))
	require.Equal(t, "open", d.Status()[0].Breaker)
	route = chained(config)
	route.Chain[0].Model = "other"
	f := failed(t, failing(d.Do(t.Context(), asking(t, route, p, false))))
	require.Equal(t, ProviderDown, f.Reason)
	require.Zero(t, f.Attempts)
}

// TestKeysShareTheLoad: what is under way counts, and then whose turn it is.
func TestKeysShareTheLoad(t *testing.T) {
	p := wire.OpenAI
	release := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Hold") != "" {
			<-release
		}
		answer(p)(w, r)
	})
	d := newDispatcher(t)
	config := provided("a", p, u.URL, "a1", "a2", "a3")
	used := map[string]int{}
	for range 30 {
		got, err := d.Do(t.Context(), asking(t, chained(config), p, false))
		require.NoError(t, err)
		used[got.Attempt.Key]++
	}
	require.Equal(t, map[string]int{"a1": 10, "a2": 10, "a3": 10}, used)

	held := provided("a", p, u.URL, "a1", "a2", "a3")
	held.Headers = map[string]string{"X-Hold": "yes"}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = d.Do(t.Context(), asking(t, chained(held), p, false)) })
	require.Eventually(t, func() bool { return len(u.requests()) == 31 }, patience, time.Millisecond)
	used = map[string]int{}
	for range 30 {
		got, err := d.Do(t.Context(), asking(t, chained(config), p, false))
		require.NoError(t, err)
		used[got.Attempt.Key]++
	}
	require.Len(t, used, 2, "one has a request under way all the time")
	close(release)
	wg.Wait()
}

// turnstile is a Gate that lets the keys pass that it is told to.
type turnstile struct {
	mu       sync.Mutex
	closed   map[string]time.Duration
	asked    []int64
	released []int64
	observed []string
}

var errFull = errors.New("full")

func (g *turnstile) Acquire(_ context.Context, _ *routes.Provider, key routes.Key, tokens int64) (func(int64), time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if after, ok := g.closed[key.Name]; ok {
		return nil, after, errFull
	}
	g.asked = append(g.asked, tokens)
	return func(actual int64) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.released = append(g.released, actual)
	}, 0, nil
}

func (g *turnstile) Observe(_ *routes.Provider, key routes.Key, h http.Header) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.observed = append(g.observed, key.Name+" "+h.Get("X-Ratelimit-Remaining-Requests"))
}

// TestAGateKeepsKeysAndIsTold what was asked for, what it took, and what the
// provider counts; where every key is full, the request says when to come back.
func TestAGateKeepsKeysAndIsTold(t *testing.T) {
	for _, p := range protocols {
		for _, stream := range []bool{false, true} {
			say := answer(p)
			if stream {
				say = events(recording(p, "first"))
			}
			u := newUpstream(t, status(500, "e", "", "X-Ratelimit-Remaining-Requests", "9"), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Ratelimit-Remaining-Requests", "8")
				say(w, r)
			})
			gate := &turnstile{closed: map[string]time.Duration{"a1": 9 * time.Second}}
			d := newDispatcher(t, func(o *Options) { o.Gate = gate })
			r := asking(t, chained(provided("a", p, u.URL, "a1", "a2")), p, stream)
			got, err := d.Do(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, []string{"a queue_full", "a/a2 server_error", "a/a2 ok"}, way(got.Path))
			if stream {
				require.Len(t, gate.released, 1, "it is held as long as the stream")
				_, err = drink(t, got.Stream)
				require.NoError(t, err)
			}
			most := wire.EstimateTokens(r.Wire.Body) + 50
			require.Equal(t, []int64{most, most}, gate.asked)
			require.Equal(t, []int64{0, 20}, gate.released)
			require.Equal(t, []string{"a2 9", "a2 8"}, gate.observed)
			require.Zero(t, d.Status()[0].Keys[1].InFlight)

			gate.closed["a2"] = 5 * time.Second
			f := failed(t, failing(d.Do(t.Context(), r)))
			require.Equal(t, Queued, f.Reason)
			require.Equal(t, 429, f.Status)
			require.Equal(t, 5*time.Second, f.RetryAfter)
			require.Len(t, u.requests(), 2)
		}
	}
}
