package dispatch

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// TestAStreamIsGivenFromItsFirstByteToItsLast in pieces of any size.
func TestAStreamIsGivenFromItsFirstByteToItsLast(t *testing.T) {
	for _, p := range protocols {
		for _, size := range []int{1, 7, 100, 10_000} {
			recorded := recording(p, "first")
			pieces := []string{}
			for rest := recorded; rest != ""; {
				n := min(size, len(rest))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			u := newUpstream(t, events(pieces...))
			d := newDispatcher(t)
			books := &ledger{}
			r := asking(t, chained(provided("a", p, u.URL, "a1")), p, true)
			r.Books = books
			got, err := d.Do(t.Context(), r)
			require.NoError(t, err)
			require.Nil(t, got.Body)
			text, err := drink(t, got.Stream)
			require.NoError(t, err)
			if p == wire.OpenAI {
				require.Contains(t, u.requests()[0].body, "include_usage")
				recorded = withoutUsage(recorded)
			}
			require.Equal(t, recorded, text)
			require.Equal(t, Outcome{
				State: Billed, Reason: OK, Usage: wire.Usage{Input: 12, CacheRead: 3, Output: 5}, Exact: true,
				UpstreamID: got.Stream.seen.ID(), Finish: got.Stream.seen.Finish(),
			}, got.Stream.Outcome())
			require.NotEmpty(t, got.Stream.Outcome().Finish)
			require.Empty(t, books.ended)
			_, err = got.Stream.Next()
			require.ErrorIs(t, err, io.EOF)
		}
	}
}

// withoutUsage is a recording as a client sees it that did not ask for the usage.
func withoutUsage(recorded string) string {
	at := strings.Index(recorded, `"choices":[],"usage"`)
	from := strings.LastIndex(recorded[:at], "data: ")
	to := at + strings.Index(recorded[at:], "\n\n") + 2
	return recorded[:from] + recorded[to:]
}

// TestWhoAskedForTheUsageGetsIt.
func TestWhoAskedForTheUsageGetsIt(t *testing.T) {
	u := newUpstream(t, events(recording(wire.OpenAI, "first")))
	d := newDispatcher(t)
	scanned, err := wire.Scan(wire.OpenAI, []byte(`{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}`))
	require.NoError(t, err)
	got, err := d.Do(t.Context(), Request{ID: "id", Route: chained(provided("a", wire.OpenAI, u.URL, "a1")), Wire: scanned})
	require.NoError(t, err)
	text, err := drink(t, got.Stream)
	require.NoError(t, err)
	require.Equal(t, recording(wire.OpenAI, "first"), text)
}

// TestAStreamThatIsCutAtAnyByteFallsBackOrFails: either the caller gets the second
// target's stream and nothing of the first one's, or a prefix of the first and a typed
// failure. It never gets an end that was not sent.
func TestAStreamThatIsCutAtAnyByteFallsBackOrFails(t *testing.T) {
	for _, p := range protocols {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v clean=%v", p, clean), func(t *testing.T) {
				first, second := recording(p, "first"), recording(p, "second")
				before, content, _ := split(t, p, first)
				visible, other := first, second
				if p == wire.OpenAI {
					visible, other = withoutUsage(first), withoutUsage(second)
				}
				var at atomic.Int64
				a := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
					events(first[:at.Load()])(w, r)
					if !clean {
						cut(w, r)
					}
				})
				b := newUpstream(t, events(second))
				d := newDispatcher(t, func(o *Options) { o.Breaker = DefaultBreaker(); o.Breaker.BreakerMinCalls = 1 << 20 })
				route := chained(provided("a", p, a.URL, "a1"), provided("b", p, b.URL, "b1"))
				for n := range len(first) {
					at.Store(int64(n))
					books := &ledger{}
					r := asking(t, route, p, true)
					r.Books = books
					got, err := d.Do(t.Context(), r)
					require.NoError(t, err)
					text, err := drink(t, got.Stream)
					if n < len(before)+len(content) {
						require.NoError(t, err, "cut at %d", n)
						require.Equal(t, other, text, "cut at %d", n)
						require.Len(t, books.ended, 2, "here, and here again")
						require.Contains(t, []Reason{Cut, Empty}, books.ended[0].Reason)
						require.NotEqual(t, Failed, books.ended[0].State)
						require.False(t, books.ended[0].Exact)
						if p == wire.Anthropic && strings.Contains(first[:n], "}\n\n") {
							require.Equal(t, Billed, books.ended[0].State)
							require.EqualValues(t, 12, books.ended[0].Usage.Input)
						}
						continue
					}
					f := failed(t, err)
					require.Equal(t, Cut, f.Reason, "cut at %d", n)
					require.True(t, f.Committed)
					require.True(t, strings.HasPrefix(visible, text), "cut at %d", n)
					require.True(t, strings.HasPrefix(text, before+content), "cut at %d", n)
					require.NotEqual(t, visible, text)
					require.Positive(t, got.Stream.Outcome().Usage.Output)
					require.NotEmpty(t, got.Stream.Outcome().Error)
				}
			})
		}
	}
}

// errorEvent is the protocol's error in place of the rest.
func errorEvent(p wire.Protocol, typ string) string {
	if p == wire.Anthropic {
		return fmt.Sprintf("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":%q,\"message\":\"told to\"}}\n\n", typ)
	}
	return fmt.Sprintf("data: {\"error\":{\"type\":%q,\"code\":%q,\"message\":\"told to\"}}\n\n", typ, typ)
}

// TestAnErrorEventBeforeTheFirstContentFallsBackWithoutLoss, and is read as the status that it
// stands for.
func TestAnErrorEventBeforeTheFirstContentFallsBackWithoutLoss(t *testing.T) {
	for _, p := range protocols {
		for typ, want := range map[string][]string{
			"overloaded_error": {"a/a1 overloaded", "b/b1 ok"},
			"api_error":        {"a/a1 server_error", "a/a1 server_error", "b/b1 ok"},
			"rate_limit_error": {"a/a1 rate_limited", "b/b1 ok"},
		} {
			for _, alone := range []bool{true, false} {
				before, _, _ := split(t, p, recording(p, "first"))
				if alone {
					before = ""
				}
				a, b := newUpstream(t, events(before+errorEvent(p, typ))), newUpstream(t, events(recording(p, "second")))
				d := newDispatcher(t)
				books := &ledger{}
				r := asking(t, chained(provided("a", p, a.URL, "a1"), provided("b", p, b.URL, "b1")), p, true)
				r.Books = books
				got, err := d.Do(t.Context(), r)
				require.NoError(t, err)
				text, err := drink(t, got.Stream)
				require.NoError(t, err)
				require.NotContains(t, text, "first")
				require.Equal(t, want, way(got.Path))
				require.Equal(t, alone, books.ended[0].State == Failed)
			}
		}
	}
}

// TestAnErrorEventAfterContentIsATypedFailure, and says what the provider said.
func TestAnErrorEventAfterContentIsATypedFailure(t *testing.T) {
	for _, p := range protocols {
		before, content, _ := split(t, p, recording(p, "first"))
		u := newUpstream(t, events(before+content+errorEvent(p, "overloaded_error")))
		d := newDispatcher(t)
		got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, u.URL, "a1")), p, true))
		require.NoError(t, err)
		text, err := drink(t, got.Stream)
		require.Equal(t, before+content, text)
		f := failed(t, err)
		require.Equal(t, Overloaded, f.Reason)
		require.True(t, f.Committed)
		require.Equal(t, "told to", f.Last.Message)
		require.EqualValues(t, 1, d.Status()[0].Models[0].Calls)
		require.InDelta(t, 1, d.Status()[0].Models[0].FailureRate, 0)
	}
}

// TestAnEmptyStreamFallsBack, whether it has an end or not.
func TestAnEmptyStreamFallsBack(t *testing.T) {
	for _, p := range protocols {
		end := "data: [DONE]\n\n"
		if p == wire.Anthropic {
			end = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
		}
		for _, nothing := range []string{"", end, ": comment\n\n" + end} {
			a, b := newUpstream(t, events(nothing)), newUpstream(t, events(recording(p, "second")))
			d := newDispatcher(t)
			got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, a.URL, "a1"), provided("b", p, b.URL, "b1")), p, true))
			require.NoError(t, err)
			require.Equal(t, []string{"a/a1 empty", "a/a1 empty", "b/b1 ok"}, way(got.Path))
			require.NoError(t, got.Stream.Close())
		}
	}
}

// TestAPreambleWithoutEndIsBounded.
func TestAPreambleWithoutEndIsBounded(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			events(": "+strings.Repeat("x", 1000)+"\n\n")(w, r)
		}
	})
	d := newDispatcher(t, func(o *Options) { o.MaxEvent = 64 << 10 })
	f := failed(t, failing(d.Do(t.Context(), asking(t, chained(provided("a", wire.OpenAI, u.URL, "a1")), wire.OpenAI, true))))
	require.Equal(t, TooLarge, f.Reason)
	gone(t, u)
}

// TestAReaderThatStopsStopsTheProvider: nothing reads on for it, so the sender is
// blocked by what the network holds.
func TestAReaderThatStopsStopsTheProvider(t *testing.T) {
	p := wire.OpenAI
	before, _, _ := split(t, p, recording(p, "first"))
	const pieces = 4096
	piece := fmt.Sprintf(`data: {"id":"c","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`+"\n\n", strings.Repeat("x", 16<<10))
	_, _, after := split(t, p, recording(p, "first"))
	var sent atomic.Int64
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		events(before)(w, r)
		for range pieces {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			sent.Add(1)
		}
		events(after)(w, r)
	})
	d := newDispatcher(t)
	got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, u.URL, "a1")), p, true))
	require.NoError(t, err)
	stopped := int64(-1)
	require.Eventually(t, func() bool {
		now := sent.Load()
		still := now == stopped
		stopped = now
		return still
	}, patience, 100*time.Millisecond)
	require.Less(t, stopped, int64(pieces), "%d MiB in all", pieces*len(piece)>>20)
	require.LessOrEqual(t, cap(got.Stream.bytes), 256<<10)
	n := 0
	for {
		if _, err = got.Stream.Next(); err != nil {
			break
		}
		n++
	}
	require.ErrorIs(t, err, io.EOF)
	require.Greater(t, n, pieces)
}
