package llm

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is the providers over loopback.
type world struct {
	t       *testing.T
	url     string
	path    string
	handler *Handler
	invoice *Invoice
	server  *httptest.Server
}

func start(t *testing.T) *world { return startAt(t, filepath.Join(t.TempDir(), "llm.db")) }

func startAt(t *testing.T, path string) *world {
	t.Helper()
	invoice, err := OpenInvoice(path)
	require.NoError(t, err)
	h, err := NewHandler(invoice, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s := httptest.NewServer(h)
	w := &world{t: t, url: s.URL, path: path, handler: h, invoice: invoice, server: s}
	t.Cleanup(w.stop)
	return w
}

func (w *world) stop() {
	if w.server != nil {
		w.server.CloseClientConnections()
		w.server.Close()
		require.NoError(w.t, w.invoice.Close())
		w.server = nil
	}
}

// client never reuses connections: what a fault does to one must not reach the
// next request.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// answered is what came back, however far it came.
type answered struct {
	status int
	header http.Header
	body   string
	err    error // of the connection
}

// paths of what answers.
var paths = map[Provider]string{
	OpenAI:     "/llm/openai/v1/chat/completions",
	Compatible: "/llm/compatible/v1/chat/completions",
	Anthropic:  "/llm/anthropic/v1/messages",
}

// send sends one request; headers are name, value, …
func (w *world) send(ctx context.Context, p Provider, path, body string, headers ...string) (*http.Response, error) {
	w.t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	r.GetBody = nil // net/http must not send it again
	if p == Anthropic {
		r.Header.Set("X-Api-Key", "sandbox-a")
		r.Header.Set("Anthropic-Version", "2023-06-01")
	} else {
		r.Header.Set("Authorization", "Bearer sandbox-a")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return client.Do(r)
}

func (w *world) call(p Provider, path, body string, headers ...string) answered {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	response, err := w.send(ctx, p, path, body, headers...)
	if err != nil {
		return answered{err: err}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return answered{response.StatusCode, response.Header, string(data), err}
}

// ask asks a model; fields are more members of the body, such as `"n":2`.
func (w *world) ask(p Provider, model, prompt string, fields []string, headers ...string) answered {
	w.t.Helper()
	return w.call(p, paths[p], bodyOf(w.t, p, model, prompt, fields...), headers...)
}

func bodyOf(t *testing.T, p Provider, model, prompt string, fields ...string) string {
	t.Helper()
	quoted, err := json.Marshal(prompt)
	require.NoError(t, err)
	members := append([]string{`"model":"` + model + `"`, `"messages":[{"role":"user","content":` + string(quoted) + `}]`}, fields...)
	if p == Anthropic && !strings.Contains(strings.Join(fields, ","), `"max_tokens"`) {
		members = append(members, `"max_tokens":1000`)
	}
	return "{" + strings.Join(members, ",") + "}"
}

var streamed = []string{`"stream":true`}

func decode[T any](t *testing.T, body string) (value T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(body), &value), body)
	return value
}

func (w *world) openai(p Provider, model, prompt string, fields ...string) openAIAnswer {
	w.t.Helper()
	a := w.ask(p, model, prompt, fields)
	require.NoError(w.t, a.err)
	require.Equal(w.t, 200, a.status, a.body)
	return decode[openAIAnswer](w.t, a.body)
}

func (w *world) anthropic(model, prompt string, fields ...string) anthropicAnswer {
	w.t.Helper()
	a := w.ask(Anthropic, model, prompt, fields)
	require.NoError(w.t, a.err)
	require.Equal(w.t, 200, a.status, a.body)
	return decode[anthropicAnswer](w.t, a.body)
}

// sse is one event as a client reads it.
type sse struct{ name, data string }

func events(t *testing.T, body string) (all []sse) {
	t.Helper()
	var e sse
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "":
			if e != (sse{}) {
				all = append(all, e)
			}
			e = sse{}
		case strings.HasPrefix(line, "event: "):
			e.name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			e.data = line[len("data: "):]
		}
	}
	return all
}

// names are the kinds of the events of a stream, repetitions once.
func names(all []sse) (kinds []string) {
	for _, e := range all {
		if len(kinds) == 0 || kinds[len(kinds)-1] != e.name {
			kinds = append(kinds, e.name)
		}
	}
	return kinds
}

// texts is the text of a stream, up to where it came.
func texts(t *testing.T, p Provider, body string) string {
	t.Helper()
	var said strings.Builder
	for _, e := range events(t, body) {
		if p == Anthropic {
			if e.name == "content_block_delta" {
				if d := decode[anthropicBlockDelta](t, e.data).Delta; d.Text != nil {
					said.WriteString(*d.Text)
				}
			}
			continue
		}
		if e.data == "[DONE]" {
			continue
		}
		for _, c := range decode[openAIChunk](t, e.data).Choices {
			if c.Delta.Content != nil {
				said.WriteString(*c.Delta.Content)
			}
		}
	}
	return said.String()
}

// rows are all that is on the invoice.
func (w *world) rows() []Row {
	w.t.Helper()
	rows, _, err := w.invoice.Rows(Selection{})
	require.NoError(w.t, err)
	return rows
}

// only is the only row of the invoice.
func (w *world) only() Row {
	w.t.Helper()
	rows := w.rows()
	require.Len(w.t, rows, 1)
	return rows[0]
}

func (w *world) lookup(id string) (int, Row) {
	w.t.Helper()
	a := w.call("", "/llm/requests/"+id, "")
	require.NoError(w.t, a.err)
	if a.status != 200 {
		return a.status, Row{}
	}
	return a.status, decode[Row](w.t, a.body)
}

// modelFor is a model that the provider serves and others do not, where there is
// one.
var modelFor = map[Provider]string{OpenAI: "gpt-sandbox", Anthropic: "claude-sandbox", Compatible: "sandbox-small"}

// contextOf is a context of the test that can be left.
func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	return ctx, leave
}
