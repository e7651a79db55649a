package dispatch

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// brief is a timeout that is to be met.
const brief = 60 * time.Millisecond

// TestEachTimeoutIsToldApart and its attempt falls back as long as nothing was given
// to the caller.
func TestEachTimeoutIsToldApart(t *testing.T) {
	p := wire.OpenAI
	before, _, _ := split(t, p, recording(p, "first"))
	for name, test := range map[string]struct {
		stream bool
		act    act
		reason Reason
		state  State
	}{
		"first token, of headers":    {true, hang, FirstTokenTimeout, Unknown},
		"first token, of content":    {true, then(before, hang), FirstTokenTimeout, Unknown},
		"first token, despite pings": {true, pinging, FirstTokenTimeout, Unknown},
		"answer":                     {false, hang, AnswerTimeout, Unknown},
		"answer, half of it":         {false, then("{", hang), AnswerTimeout, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := newUpstream(t, test.act), newUpstream(t, answer(p))
			if test.stream {
				second.acts[0] = events(recording(p, "second"))
			}
			d := newDispatcher(t)
			books := &ledger{}
			route := chained(provided("a", p, first.URL, "a1"), provided("b", p, second.URL, "b1"))
			route.Timeouts.FirstToken = brief
			r := asking(t, route, p, test.stream)
			r.Books = books
			got, err := d.Do(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, []string{"a/a1 " + string(test.reason), "b/b1 ok"}, way(got.Path))
			require.Equal(t, test.state, books.ended[0].State)
			require.GreaterOrEqual(t, got.Path[0].Took, brief)
			if test.stream {
				require.NoError(t, got.Stream.Close())
			}
			gone(t, first)
		})
	}
}

// gone waits until an upstream has seen its client go.
func gone(t *testing.T, u *upstream) {
	t.Helper()
	select {
	case <-u.left:
	case <-time.After(patience):
		t.Fatal("upstream goes on")
	}
}

// pinging sends comments and nothing else.
func pinging(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		events(": ping\n\n")(w, r)
		time.Sleep(time.Millisecond) // a provider's keepalives come at intervals
	}
}

// TestAConnectionThatTakesTooLongFallsBack: a server that accepts and says nothing,
// where TLS is to be spoken.
func TestAConnectionThatTakesTooLongFallsBack(t *testing.T) {
	p := wire.Anthropic
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	second := newUpstream(t, answer(p))
	d := newDispatcher(t, func(o *Options) {
		o.Transport = func(transport *http.Transport) { transport.TLSHandshakeTimeout = time.Second } // of the dial that goes on
	})
	t.Cleanup(func() { silent.Close() })
	books := &ledger{}
	route := chained(provided("a", p, "https://"+silent.Addr().String(), "a1"), provided("b", p, second.URL, "b1"))
	route.Timeouts.Connect = brief
	r := asking(t, route, p, false)
	r.Books = books
	got, err := d.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []string{"a/a1 connect_timeout", "b/b1 ok"}, way(got.Path))
	require.Equal(t, Failed, books.ended[0].State, "nothing was sent")
}

// TestTheTotalTimeoutEndsARequestWhereverItIs: in an attempt, between two, and in a
// stream, whether it is the route's or the caller's.
func TestTheTotalTimeoutEndsARequestWhereverItIs(t *testing.T) {
	p := wire.OpenAI
	for name, limit := range map[string]func(*Request) context.Context{
		"the route's": func(r *Request) context.Context { r.Route.Timeouts.Total = brief; return t.Context() },
		"the caller's": func(*Request) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), brief)
			t.Cleanup(cancel)
			return ctx
		},
	} {
		t.Run(name+", in an attempt", func(t *testing.T) {
			u := newUpstream(t, hang)
			d := newDispatcher(t)
			r := asking(t, chained(provided("a", p, u.URL, "a1")), p, false)
			f := failed(t, failing(d.Do(limit(&r), r)))
			require.Equal(t, TotalTimeout, f.Reason)
			require.Equal(t, 504, f.Status)
			require.Equal(t, 1, f.Attempts)
			gone(t, u)
			require.Zero(t, d.Status()[0].Models[0].Calls, "it may be the caller's doing")
		})
		t.Run(name+", in a stream", func(t *testing.T) {
			before, content, _ := split(t, p, recording(p, "first"))
			u := newUpstream(t, then(before+content, hang))
			d := newDispatcher(t)
			r := asking(t, chained(provided("a", p, u.URL, "a1")), p, true)
			got, err := d.Do(limit(&r), r)
			require.NoError(t, err)
			text, err := drink(t, got.Stream)
			require.Equal(t, before+content, text)
			f := failed(t, err)
			require.Equal(t, TotalTimeout, f.Reason)
			require.True(t, f.Committed)
			gone(t, u)
		})
	}
}

// TestSilenceAfterTheFirstContentIsAnIdleTimeout, and not before, and not while the
// caller does not read.
func TestSilenceAfterTheFirstContentIsAnIdleTimeout(t *testing.T) {
	for _, p := range protocols {
		before, content, after := split(t, p, recording(p, "first"))
		slow := func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(3 * brief):
			case <-r.Context().Done():
			}
		}
		u := newUpstream(t,
			then(before, func(w http.ResponseWriter, r *http.Request) { slow(w, r); then(content, hang)(w, r) }),
			events(before+content, after))
		d := newDispatcher(t)
		route := chained(provided("a", p, u.URL, "a1"))
		route.Timeouts.Idle = brief
		got, err := d.Do(t.Context(), asking(t, route, p, true))
		require.NoError(t, err, "silence before the first content is not idle")
		text, err := drink(t, got.Stream)
		require.Equal(t, before+content, text)
		f := failed(t, err)
		require.Equal(t, IdleTimeout, f.Reason)
		require.True(t, f.Committed)
		gone(t, u)

		got, err = d.Do(t.Context(), asking(t, route, p, true))
		require.NoError(t, err)
		time.Sleep(3 * brief) // the caller's silence, not the provider's
		_, err = drink(t, got.Stream)
		require.NoError(t, err)
	}
}
