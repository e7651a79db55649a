package dispatch

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// TestACallerThatLeavesClosesTheConnectionUpstream at once, before an answer and in the
// middle of it, and nobody's health suffers.
func TestACallerThatLeavesClosesTheConnectionUpstream(t *testing.T) {
	for _, p := range protocols {
		for _, stream := range []bool{true, false} {
			u := newUpstream(t, hang)
			d := newDispatcher(t)
			books := &ledger{}
			r := asking(t, chained(provided("a", p, u.URL, "a1"), provided("b", p, u.URL, "b1")), p, stream)
			r.Books = books
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				require.Eventually(t, func() bool { return len(u.requests()) == 1 }, patience, time.Millisecond)
				cancel()
			}()
			f := failed(t, failing(d.Do(ctx, r)))
			require.Equal(t, CallerLeft, f.Reason)
			require.Equal(t, 499, f.Status)
			gone(t, u)
			require.Len(t, u.requests(), 1)
			require.Equal(t, Unknown, books.ended[0].State)
			for _, s := range d.registry.Status() {
				require.Zero(t, s.Calls, s.Dependency)
			}
			require.Zero(t, d.Status()[0].Keys[0].InFlight)
		}
		before, content, _ := split(t, p, recording(p, "first"))
		u := newUpstream(t, then(before+content, hang))
		d := newDispatcher(t)
		ctx, cancel := context.WithCancel(t.Context())
		got, err := d.Do(ctx, asking(t, chained(provided("a", p, u.URL, "a1")), p, true))
		require.NoError(t, err)
		cancel()
		gone(t, u) // without anybody reading or closing
		_, err = drink(t, got.Stream)
		require.Equal(t, CallerLeft, failed(t, err).Reason)
		o := got.Stream.Outcome()
		require.False(t, o.Exact)
		require.Positive(t, o.Usage.Output)
		require.Zero(t, d.Status()[0].Models[0].Calls)
		require.Zero(t, d.Status()[0].Keys[0].InFlight)
	}
}

// TestAStreamThatIsClosedEndsUpstream.
func TestAStreamThatIsClosedEndsUpstream(t *testing.T) {
	p := wire.Anthropic
	before, content, _ := split(t, p, recording(p, "first"))
	u := newUpstream(t, then(before+content, hang))
	d := newDispatcher(t)
	got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, u.URL, "a1")), p, true))
	require.NoError(t, err)
	require.NoError(t, got.Stream.Close())
	gone(t, u)
	o := got.Stream.Outcome()
	require.Equal(t, Billed, o.State)
	require.Equal(t, CallerLeft, o.Reason)
	require.EqualValues(t, 12, o.Usage.Input)
	require.NoError(t, got.Stream.Close())
	require.Equal(t, o, got.Stream.Outcome())
}

// left leaves a stream after its first content, and the provider goes on with the
// rest when it is told.
func left(t *testing.T, policy routes.Disconnect, bound time.Duration, changes ...func(*Options)) (d *bench, u *upstream, goOn func(), settled chan Outcome) {
	t.Helper()
	p := wire.OpenAI
	before, content, after := split(t, p, recording(p, "first"))
	proceed := make(chan struct{})
	u = newUpstream(t, then(before+content, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-proceed:
			events(after)(w, r)
		case <-r.Context().Done():
		}
	}))
	d = newDispatcher(t, changes...)
	route := chained(provided("a", p, u.URL, "a1"))
	route.Disconnect, route.DrainBound = policy, bound
	ctx, cancel := context.WithCancel(t.Context())
	got, err := d.Do(ctx, asking(t, route, p, true))
	require.NoError(t, err)
	cancel()
	settled = make(chan Outcome, 1)
	got.Stream.Leave(func(o Outcome) { settled <- o })
	return d, u, func() { close(proceed) }, settled
}

func outcome(t *testing.T, settled chan Outcome) Outcome {
	t.Helper()
	select {
	case o := <-settled:
		return o
	case <-time.After(patience):
		t.Fatal("the stream that was left is not settled")
		return Outcome{}
	}
}

// TestALeftStreamEndsAsItsRouteSays: at once, after a while, or at its end.
func TestALeftStreamEndsAsItsRouteSays(t *testing.T) {
	_, u, _, settled := left(t, routes.Cancel, 0)
	require.Equal(t, CallerLeft, outcome(t, settled).Reason)
	gone(t, u)

	for policy, bound := range map[routes.Disconnect]time.Duration{routes.Drain: patience, routes.Detach: 0} {
		_, _, goOn, settled := left(t, policy, bound)
		goOn()
		o := outcome(t, settled)
		require.Equal(t, OK, o.Reason)
		require.True(t, o.Exact)
		require.Equal(t, wire.Usage{Input: 12, CacheRead: 3, Output: 5}, o.Usage)
	}

	_, u, _, settled = left(t, routes.Drain, brief)
	o := outcome(t, settled)
	require.Equal(t, CallerLeft, o.Reason)
	require.False(t, o.Exact)
	gone(t, u)
}

// TestADetachedStreamOutlivesItsCaller, whatever the route says.
func TestADetachedStreamOutlivesItsCaller(t *testing.T) {
	p := wire.Anthropic
	before, content, after := split(t, p, recording(p, "first"))
	proceed := make(chan struct{})
	u := newUpstream(t, then(before+content, func(w http.ResponseWriter, r *http.Request) {
		<-proceed
		events(after)(w, r)
	}))
	d := newDispatcher(t)
	ctx, cancel := context.WithCancel(t.Context())
	got, err := d.Do(ctx, asking(t, chained(provided("a", p, u.URL, "a1")), p, true))
	require.NoError(t, err)
	settled := make(chan Outcome, 1)
	got.Stream.Detach(patience, func(o Outcome) { settled <- o })
	cancel()
	select {
	case o := <-settled:
		t.Fatalf("it ended with its caller: %+v", o)
	case <-time.After(brief):
	}
	close(proceed)
	require.Equal(t, OK, outcome(t, settled).Reason)
}

// TestClosingWaitsForTheStreamsThatWereLeft as long as it may, and no longer.
func TestClosingWaitsForTheStreamsThatWereLeft(t *testing.T) {
	d, _, goOn, settled := left(t, routes.Detach, 0)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = d.Close(t.Context())
	}()
	select {
	case <-closed:
		t.Fatal("closed before the stream was at its end")
	case <-time.After(brief):
	}
	goOn()
	require.Equal(t, OK, outcome(t, settled).Reason)
	<-closed

	d, u, _, settled := left(t, routes.Detach, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, d.Close(ctx))
	require.Equal(t, CallerLeft, outcome(t, settled).Reason)
	gone(t, u)

	_, _, _, settled = func() (*bench, *upstream, func(), chan Outcome) {
		return left(t, routes.Detach, 0, func(o *Options) { o.MaxDetached = 1 })
	}()
	require.Equal(t, CallerLeft, outcome(t, settled).Reason, "no more is read than is allowed")
}
