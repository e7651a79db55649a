package dispatch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is far beyond what anything here takes.
const patience = 20 * time.Second

// act is how an upstream answers one request.
type act func(w http.ResponseWriter, r *http.Request)

// upstream is a provider that does as it is told: the nth request gets the nth
// act, and all further ones the last.
type upstream struct {
	*httptest.Server
	acts []act

	mu   sync.Mutex
	seen []seen
	left chan struct{} // one for each request whose connection was closed under way
}

// seen is a request that arrived.
type seen struct {
	header http.Header
	path   string
	body   string
	from   string // the connection's other end
}

func newUpstream(t testing.TB, acts ...act) *upstream {
	t.Helper()
	u := &upstream{acts: acts, left: make(chan struct{}, 100)}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.seen = append(u.seen, seen{r.Header.Clone(), r.URL.Path, string(body), r.RemoteAddr})
	n := len(u.seen)
	u.mu.Unlock()
	u.acts[min(n, len(u.acts))-1](w, r)
	if r.Context().Err() != nil {
		u.left <- struct{}{}
	}
}

func (u *upstream) requests() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]seen(nil), u.seen...)
}

// status answers with a status, an error's type and code, and headers in pairs.
func status(code int, typ, errorCode string, headers ...string) act {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"type":"error","error":{"type":%q,"code":%q,"message":"told to","details":{"error_code":%q}}}`, typ, errorCode, errorCode)
	}
}

// answer answers with JSON of the protocol.
func answer(p wire.Protocol) act {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "req_1")
		fmt.Fprint(w, whole(p))
	}
}

func whole(p wire.Protocol) string {
	if p == wire.Anthropic {
		return `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":5}}`
	}
	return `{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":15,"completion_tokens":5,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":3}}}`
}

// events answers with a stream, a piece at a time.
func events(pieces ...string) act {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range pieces {
			fmt.Fprint(w, piece)
			w.(http.Flusher).Flush()
		}
	}
}

// then answers with the beginning of a stream and goes on as another act.
func then(beginning string, next act) act {
	return func(w http.ResponseWriter, r *http.Request) {
		events(beginning)(w, r)
		next(w, r)
	}
}

// hang waits until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(patience):
	}
}

// cut closes the connection, so that the client sees it.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// recording is a whole stream of the protocol, with an id by which its content is
// told from another's.
func recording(p wire.Protocol, word string) string {
	if p == wire.Anthropic {
		return strings.ReplaceAll(`event: message_start
data: {"type":"message_start","message":{"id":"msg_WORD","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"WORD"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" and more"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}

event: message_stop
data: {"type":"message_stop"}

`, "WORD", word)
	}
	return strings.ReplaceAll(`data: {"id":"chatcmpl-WORD","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"chatcmpl-WORD","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"WORD"},"finish_reason":null}]}

data: {"id":"chatcmpl-WORD","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":" and more"},"finish_reason":null}]}

data: {"id":"chatcmpl-WORD","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"id":"chatcmpl-WORD","object":"chat.completion.chunk","model":"m","choices":[],"usage":{"prompt_tokens":15,"completion_tokens":5,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":3}}}

data: [DONE]

`, "WORD", word)
}

// before is the part of a recording before its first content, and after the rest.
func split(t testing.TB, p wire.Protocol, recorded string) (before, content, after string) {
	t.Helper()
	mark := `{"content":"`
	if p == wire.Anthropic {
		mark = "event: content_block_delta"
	}
	at := strings.Index(recorded, mark)
	if p == wire.OpenAI {
		at = strings.LastIndex(recorded[:at], "data: ")
	}
	require.Positive(t, at)
	end := at + strings.Index(recorded[at:], "\n\n") + 2
	return recorded[:at], recorded[at:end], recorded[end:]
}

// bench is a dispatcher and what it is made with.
type bench struct {
	*Dispatcher
	logs     *logtest.Buffer
	registry *resilience.Registry
}

// newDispatcher has pauses of a few milliseconds.
func newDispatcher(t testing.TB, changes ...func(*Options)) *bench {
	t.Helper()
	b := &bench{logs: &logtest.Buffer{}}
	log := slog.New(slog.NewTextHandler(b.logs, nil))
	b.registry = resilience.NewRegistry(log)
	o := Options{Log: log, Breakers: b.registry, Backoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond}
	for _, change := range changes {
		change(&o)
	}
	var err error
	b.Dispatcher, err = New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close(context.WithoutCancel(t.Context())))
		require.NoError(t, b.registry.Close())
	})
	return b
}

// provider is a provider at an address with keys of these names, whose secrets
// are "secret-" and the name.
func provided(name string, p wire.Protocol, address string, keys ...string) *routes.Provider {
	provider := &routes.Provider{Name: name, Protocol: p, BaseURL: address, MaxTokensField: "max_completion_tokens"}
	for _, key := range keys {
		provider.Keys = append(provider.Keys, routes.Key{Name: key, Secret: routes.NewSecret("secret-" + key)})
	}
	return provider
}

// chained is a route over providers, each with a model of its name.
func chained(providers ...*routes.Provider) *routes.Route {
	route := &routes.Route{
		Name: "route", Models: []string{"asked"}, Attempts: 10, MaxTokens: 100, MaxTokensCap: 1000, Disconnect: routes.Cancel,
		Timeouts: routes.Timeouts{Connect: patience, FirstToken: patience, Idle: patience, Total: 3 * patience},
	}
	for _, p := range providers {
		route.Chain = append(route.Chain, routes.Link{Provider: p, Model: p.Name + "-model", Keys: p.Keys})
	}
	return route
}

// asking is a request in a protocol.
func asking(t testing.TB, route *routes.Route, p wire.Protocol, stream bool) Request {
	t.Helper()
	body := `{"model":"asked","max_tokens":50,"stream":false,"messages":[{"role":"user","content":"Hello"}]}`
	if stream {
		body = strings.Replace(body, `"stream":false`, `"stream":true`, 1)
	}
	scanned, err := wire.Scan(p, []byte(body))
	require.NoError(t, err)
	return Request{ID: "11111111-2222-3333-4444-555555555555", Route: route, Wire: scanned}
}

// way is a path in short: "a/a1 rate_limited".
func way(path []Try) []string {
	found := []string{}
	for _, t := range path {
		station := t.Provider
		if t.Key != "" {
			station += "/" + t.Key
		}
		found = append(found, station+" "+string(t.Reason))
	}
	return found
}

// failed is the error of a request as the Failure that it must be.
func failed(t testing.TB, err error) *Failure {
	t.Helper()
	var f *Failure
	require.ErrorAs(t, err, &f)
	return f
}

// failing is the error of a call.
func failing[T any](_ T, err error) error { return err }

// drink reads a stream to its end.
func drink(t testing.TB, s *Stream) (text string, err error) {
	t.Helper()
	var b strings.Builder
	for {
		e, err := s.Next()
		if err != nil {
			require.NoError(t, s.Close())
			if err == io.EOF { //nolint:errorlint // the contract is io.EOF itself
				return b.String(), nil
			}
			return b.String(), err
		}
		b.Write(e.Raw)
	}
}

// ledger is Books that remember.
type ledger struct {
	mu       sync.Mutex
	left     []Attempt
	ended    []Outcome
	refuse   error
	lower    int64
	before   func()
	sequence []string
}

func (l *ledger) Dispatching(_ context.Context, a *Attempt) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before != nil {
		l.before()
	}
	l.sequence = append(l.sequence, fmt.Sprintf("dispatching %d", a.Number))
	if l.refuse != nil && len(l.left) > 0 {
		return l.refuse
	}
	if l.lower > 0 {
		a.MaxTokens = l.lower
	}
	l.left = append(l.left, *a)
	return nil
}

func (l *ledger) Ended(a Attempt, o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence = append(l.sequence, fmt.Sprintf("ended %d", a.Number))
	l.ended = append(l.ended, o)
}

var protocols = []wire.Protocol{wire.OpenAI, wire.Anthropic}
