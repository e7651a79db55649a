package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

func TestAnAnswerIsGivenAsItCame(t *testing.T) {
	for _, p := range protocols {
		u := newUpstream(t, answer(p))
		d := newDispatcher(t)
		books := &ledger{}
		r := asking(t, chained(provided("a", p, u.URL, "a1")), p, false)
		r.Books = books
		got, err := d.Do(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, whole(p), string(got.Body))
		require.Equal(t, p, got.Protocol)
		require.Equal(t, 200, got.Status)
		require.Equal(t, http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req_1"}}, got.Header)
		require.Equal(t, wire.Usage{Input: 12, CacheRead: 3, Output: 5}, got.Outcome.Usage)
		require.True(t, got.Outcome.Exact)
		require.Equal(t, Billed, got.Outcome.State)
		require.NotEmpty(t, got.Outcome.UpstreamID)
		require.Equal(t, Attempt{
			Number: 1, ID: "11111111-2222-3333-4444-555555555555.1", Provider: "a", Model: "a-model", Key: "a1",
			InputTokens: wire.EstimateTokens(r.Wire.Body), MaxTokens: 50,
		}, got.Attempt)
		require.Equal(t, []Attempt{got.Attempt}, books.left)
		require.Empty(t, books.ended, "the end of what answered is the caller's to write down")
	}
}

// TestWhatIsSentUpstream is the body with the target's model, the key where the
// protocol has it, the attempt's name, and nothing of the client's headers but what is allowed.
func TestWhatIsSentUpstream(t *testing.T) {
	client := http.Header{
		"Authorization": {"Bearer of-the-client"}, "X-Api-Key": {"of-the-client"}, "Cookie": {"of-the-client"}, "Idempotency-Key": {"of-the-client"},
		"X-Forwarded-For": {"of-the-client"}, "Openai-Organization": {"of-the-client"}, "User-Agent": {"of-the-client"},
		"Anthropic-Beta": {"beta-1,beta-2"}, "Anthropic-Version": {"2024-01-01"},
	}
	for _, p := range protocols {
		for _, base := range []string{"", "/v1"} {
			u := newUpstream(t, answer(p))
			d := newDispatcher(t)
			config := provided("a", p, u.URL+base, "a1")
			config.Headers = map[string]string{"openai-project": "of-the-file"}
			r := asking(t, chained(config), p, false)
			r.Header = client
			_, err := d.Do(t.Context(), r)
			require.NoError(t, err)
			got := u.requests()[0]
			require.JSONEq(t, `{"model":"a-model","max_tokens":50,"stream":false,"messages":[{"role":"user","content":"Hello"}]}`, got.body)
			require.Equal(t, "of-the-file", got.header.Get("Openai-Project"))
			require.Equal(t, r.ID+".1", got.header.Get(RequestIDHeader))
			for name, values := range got.header {
				require.NotContains(t, values, "of-the-client", name)
				require.NotContains(t, values, "Bearer of-the-client", name)
			}
			if p == wire.Anthropic {
				require.Equal(t, "/v1/messages", got.path)
				require.Equal(t, "secret-a1", got.header.Get("X-Api-Key"))
				require.Equal(t, "2024-01-01", got.header.Get("Anthropic-Version"))
				require.Equal(t, "beta-1,beta-2", got.header.Get("Anthropic-Beta"))
				r.Header = nil
				_, err = d.Do(t.Context(), r)
				require.NoError(t, err)
				require.Equal(t, "2023-06-01", u.requests()[1].header.Get("Anthropic-Version"))
			} else {
				require.Equal(t, "/v1/chat/completions", got.path)
				require.Equal(t, "Bearer secret-a1", got.header.Get("Authorization"))
				require.Empty(t, got.header.Get("Anthropic-Beta"))
			}
		}
	}
}

// TestTheBoundOfTheAnswerIsTheRoutesAndTheBooks: what the client says is lowered to the
// route's cap, what it does not say is the route's, and the books may lower both.
func TestTheBoundOfTheAnswerIsTheRoutesAndTheBooks(t *testing.T) {
	p := wire.Anthropic
	u := newUpstream(t, answer(p))
	d := newDispatcher(t)
	route := chained(provided("a", p, u.URL, "a1"))
	for _, test := range []struct{ said, lower, want int64 }{{50, 0, 50}, {5000, 0, 1000}, {0, 0, 100}, {50, 7, 7}} {
		body := `{"model":"asked","messages":[]}`
		if test.said > 0 {
			body = fmt.Sprintf(`{"model":"asked","messages":[],"max_tokens":%d}`, test.said)
		}
		scanned, err := wire.Scan(p, []byte(body))
		require.NoError(t, err)
		got, err := d.Do(t.Context(), Request{ID: "id", Route: route, Wire: scanned, Books: &ledger{lower: test.lower}})
		require.NoError(t, err)
		require.Equal(t, test.want, got.Attempt.MaxTokens)
		requests := u.requests()
		sent, err := wire.Scan(p, []byte(requests[len(requests)-1].body))
		require.NoError(t, err)
		require.Equal(t, test.want, sent.MaxTokens)
	}
}

// TestOneCountOfAttemptsForKeysRepeatsAndFallbacks, whatever there would be to ask.
func TestOneCountOfAttemptsForKeysRepeatsAndFallbacks(t *testing.T) {
	for code, reason := range map[int]Reason{500: ServerError, 429: RateLimited, 529: Overloaded, 401: KeyBroken} {
		for limit := 1; limit <= 4; limit++ {
			p := wire.OpenAI
			first, second := newUpstream(t, status(code, "e", "", "Retry-After-Ms", "0")), newUpstream(t, status(code, "e", "", "Retry-After-Ms", "0"))
			d := newDispatcher(t)
			route := chained(provided("a", p, first.URL, "a1", "a2"), provided("b", p, second.URL, "b1", "b2"))
			route.Attempts = limit
			books := &ledger{}
			r := asking(t, route, p, false)
			r.Books = books
			f := failed(t, failing(d.Do(t.Context(), r)))
			require.Equal(t, limit, f.Attempts, "%d", code)
			require.Equal(t, limit, len(first.requests())+len(second.requests()))
			require.Equal(t, reason, f.Reason)
			if code == 429 {
				require.Equal(t, []string{"a/a1 rate_limited", "a/a2 rate_limited", "b/b1 rate_limited", "b/b2 rate_limited"}[:limit], way(f.Path), "none twice, even if it need not rest")
			}
			require.Len(t, books.left, limit)
			require.Len(t, books.ended, limit)
		}
	}
}

// TestAChainOfOneIsAskedAgainAfterAPause: overload passes.
func TestAChainOfOneIsAskedAgainAfterAPause(t *testing.T) {
	for _, code := range []int{429, 500, 503, 529} {
		e := status(code, "e", "", "Retry-After-Ms", "1")
		u := newUpstream(t, e, e, e, answer(wire.OpenAI))
		d := newDispatcher(t)
		got, err := d.Do(t.Context(), asking(t, chained(provided("a", wire.OpenAI, u.URL, "a1")), wire.OpenAI, false))
		require.NoError(t, err)
		require.Equal(t, 4, got.Attempts)
	}
}

// TestAConnectionThatIsRefusedFallsBack and nothing may be billed for it.
func TestAConnectionThatIsRefusedFallsBack(t *testing.T) {
	p := wire.OpenAI
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	second := newUpstream(t, answer(p))
	d := newDispatcher(t)
	books := &ledger{}
	r := asking(t, chained(provided("a", p, address, "a1"), provided("b", p, second.URL, "b1")), p, false)
	r.Books = books
	got, err := d.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []string{"a/a1 connect_failed", "b/b1 ok"}, way(got.Path))
	require.Equal(t, Failed, books.ended[0].State)
	require.Equal(t, []string{"dispatching 1", "ended 1", "dispatching 2"}, books.sequence)
	require.Equal(t, r.ID+".2", second.requests()[0].header.Get(RequestIDHeader))
}

// TestNothingIsSentAgainByTheTransport: a request that arrived, on a connection that
// had been used before, is repeated by this package or not at all.
func TestNothingIsSentAgainByTheTransport(t *testing.T) {
	p := wire.OpenAI
	u := newUpstream(t, answer(p), cut)
	d := newDispatcher(t)
	route := chained(provided("a", p, u.URL, "a1"))
	route.Attempts = 1
	_, err := d.Do(t.Context(), asking(t, route, p, false))
	require.NoError(t, err)
	books := &ledger{}
	r := asking(t, route, p, false)
	r.Books = books
	f := failed(t, failing(d.Do(t.Context(), r)))
	require.Equal(t, Cut, f.Reason)
	require.Len(t, u.requests(), 2)
	require.Equal(t, Unknown, books.ended[0].State, "it may be billed")
}

// TestAConnectionIsUsedAgain by requests of both kinds.
func TestAConnectionIsUsedAgain(t *testing.T) {
	p := wire.Anthropic
	late := func(w http.ResponseWriter, r *http.Request) {
		events(recording(p, "one"))(w, r)
		time.Sleep(20 * time.Millisecond) // the protocol's end comes before HTTP's
	}
	u := newUpstream(t, answer(p), late, status(500, "e", ""), answer(p))
	d := newDispatcher(t)
	route := chained(provided("a", p, u.URL, "a1"))
	_, err := d.Do(t.Context(), asking(t, route, p, false))
	require.NoError(t, err)
	got, err := d.Do(t.Context(), asking(t, route, p, true))
	require.NoError(t, err)
	_, err = drink(t, got.Stream)
	require.NoError(t, err)
	_, err = d.Do(t.Context(), asking(t, route, p, false))
	require.NoError(t, err)
	require.Len(t, u.requests(), 4)
	for _, request := range u.requests() {
		require.Equal(t, u.requests()[0].from, request.from)
	}
}

// TestHTTP2IsSpokenWhereTLSAgrees on it.
func TestHTTP2IsSpokenWhereTLSAgrees(t *testing.T) {
	p := wire.OpenAI
	protocol := ""
	u := &upstream{left: make(chan struct{}, 1), acts: []act{func(w http.ResponseWriter, r *http.Request) {
		protocol = r.Proto
		events(recording(p, "two"))(w, r)
	}}}
	u.Server = httptest.NewUnstartedServer(u)
	u.EnableHTTP2 = true
	u.StartTLS()
	t.Cleanup(u.Close)
	d := newDispatcher(t, func(o *Options) {
		o.Transport = func(transport *http.Transport) {
			transport.TLSClientConfig = u.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			transport.TLSClientConfig.NextProtos = nil
		}
	})
	got, err := d.Do(t.Context(), asking(t, chained(provided("a", p, u.URL, "a1")), p, true))
	require.NoError(t, err)
	_, err = drink(t, got.Stream)
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0", protocol)
}

func TestAnAnswerBeyondTheBoundIsATypedFailure(t *testing.T) {
	p := wire.OpenAI
	for name, big := range map[string]act{
		"body": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5000)) },
		"header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Big", strings.Repeat("x", largestHeader+1))
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, big)
			d := newDispatcher(t, func(o *Options) { o.MaxBody = 4000 })
			f := failed(t, failing(d.Do(t.Context(), asking(t, chained(provided("a", p, u.URL, "a1")), p, false))))
			require.Equal(t, TooLarge, f.Reason)
			require.Equal(t, 502, f.Status)
			require.Equal(t, 1, f.Attempts, "it would be as large again, and paid for again")
			require.True(t, f.Permanent)
		})
	}
}

// TestAnAnswerThatIsNoneFallsBack: JSON that is not, a stream where none was asked
// for, an error with status 200.
func TestAnAnswerThatIsNoneFallsBack(t *testing.T) {
	text := func(kind, body string) act {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, p := range protocols {
		for name, test := range map[string]struct {
			stream bool
			act    act
			reason Reason
		}{
			"half of JSON":       {false, text("application/json", whole(p)[:40]), Garbled},
			"a page":             {false, text("text/html", "<html>"), Garbled},
			"an error":           {false, text("application/json", `{"type":"error","error":{"type":"overloaded_error","message":"no"}}`), Overloaded},
			"JSON for a stream":  {true, text("application/json", whole(p)), Garbled},
			"a page in a stream": {true, text("text/event-stream", "data: <html>\n\n"), Garbled},
			"a connection cut off": {false, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "999")
				_, _ = w.Write([]byte("{"))
				cut(w, r)
			}, Cut},
		} {
			t.Run(p.String()+" "+name, func(t *testing.T) {
				first, second := newUpstream(t, test.act), newUpstream(t, answer(p))
				if test.stream {
					second.acts[0] = events(recording(p, "second"))
				}
				d := newDispatcher(t)
				books := &ledger{}
				r := asking(t, chained(provided("a", p, first.URL, "a1"), provided("b", p, second.URL, "b1")), p, test.stream)
				r.Books = books
				got, err := d.Do(t.Context(), r)
				require.NoError(t, err)
				require.Equal(t, "b", got.Attempt.Provider)
				require.Equal(t, test.reason, got.Path[0].Reason)
				require.Equal(t, Unknown, books.ended[0].State)
				if test.stream {
					require.NoError(t, got.Stream.Close())
				}
			})
		}
	}
}

// TestTheBooksMayEndARequest before any attempt, and nothing more is sent.
func TestTheBooksMayEndARequest(t *testing.T) {
	p := wire.OpenAI
	u := newUpstream(t, status(500, "e", ""))
	d := newDispatcher(t)
	broke := errors.New("nothing left to spend")
	r := asking(t, chained(provided("a", p, u.URL, "a1")), p, false)
	r.Books = &ledger{refuse: broke}
	err := failing(d.Do(t.Context(), r))
	require.ErrorIs(t, err, broke)
	f := failed(t, err)
	require.Equal(t, Refused, f.Reason)
	require.Equal(t, 1, f.Attempts)
	require.Len(t, u.requests(), 1)
	require.Zero(t, d.Status()[0].Keys[0].InFlight)
}

// TestATargetOfAnotherProtocolNeedsTheRequestSaidInIt.
func TestATargetOfAnotherProtocolNeedsTheRequestSaidInIt(t *testing.T) {
	first := newUpstream(t, answer(wire.Anthropic))
	second := newUpstream(t, answer(wire.OpenAI))
	d := newDispatcher(t)
	route := chained(provided("a", wire.Anthropic, first.URL, "a1"), provided("b", wire.OpenAI, second.URL, "b1"))
	r := asking(t, route, wire.OpenAI, false)
	got, err := d.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []string{"a untranslatable", "b/b1 ok"}, way(got.Path))

	other := asking(t, route, wire.Anthropic, false)
	r.Say = func(p wire.Protocol) (wire.Request, error) {
		require.Equal(t, wire.Anthropic, p)
		return other.Wire, nil
	}
	r.Path = "/v1/chat/completions"
	got, err = d.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, wire.Anthropic, got.Protocol)
	require.Equal(t, "/v1/messages", first.requests()[0].path)

	r.Say = nil
	r.Route = chained(provided("a", wire.Anthropic, first.URL, "a1"))
	f := failed(t, failing(d.Do(t.Context(), r)))
	require.Equal(t, Untranslatable, f.Reason)
	require.Equal(t, 400, f.Status)
	require.True(t, f.Permanent)
}

// TestAnOpaqueAnswerIsNotRead.
func TestAnOpaqueAnswerIsNotRead(t *testing.T) {
	p := wire.Anthropic
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"input_tokens":7}`)) })
	d := newDispatcher(t)
	r := asking(t, chained(provided("a", p, u.URL, "a1")), p, false)
	r.Path, r.Opaque = "/v1/messages/count_tokens", true
	got, err := d.Do(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, `{"input_tokens":7}`, string(got.Body))
	require.Equal(t, "/v1/messages/count_tokens", u.requests()[0].path)
	require.Zero(t, got.Outcome.Usage)
	require.True(t, got.Outcome.Exact)
}

func TestAPathIsAHeaderWhateverTheNames(t *testing.T) {
	require.Equal(t, `a/m;key="k";outcome=overloaded;status=529;ms=210, b/org/m;outcome=breaker_open;ms=0`, FormatPath([]Try{
		{Provider: "a", Model: "m", Key: "k", Reason: Overloaded, Status: 529, Took: 210 * time.Millisecond},
		{Provider: "b", Model: "org/m", Reason: BreakerOpen},
	}))
	require.Equal(t, `a_/m_;key="k__";outcome=ok;ms=0`, FormatPath([]Try{{Provider: "a\n", Model: "m,", Key: `k"é`, Reason: OK}}))
}

// TestAContextThatHasEndedSendsNothing.
func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	u := newUpstream(t, answer(wire.OpenAI))
	d := newDispatcher(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := failed(t, failing(d.Do(ctx, asking(t, chained(provided("a", wire.OpenAI, u.URL, "a1")), wire.OpenAI, false))))
	require.Equal(t, CallerLeft, f.Reason)
	require.Empty(t, u.requests())
	require.Zero(t, f.Attempts)
}
