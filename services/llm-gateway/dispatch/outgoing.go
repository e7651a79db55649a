package dispatch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// RequestIDHeader names an attempt to the provider: "<request>.<attempt>".
const RequestIDHeader = "Holdfast-Request-Id"

// anthropicVersion is sent where the client says none. There has been no other
// since 2023.
const anthropicVersion = "2023-06-01"

// errAddress does not quote the address: it may have a password in it.
var errAddress = errors.New("the provider's address cannot be read")

// compose makes the HTTP request of an attempt; nil if there is no such address.
func (w *walk) compose(ctx context.Context, link *routes.Link, key routes.Key, a *Attempt, said wire.Request, body *content) *http.Request {
	at, err := url.Parse(address(link.Provider.BaseURL, w.path(said.Protocol)))
	if err != nil {
		return nil
	}
	h := make(http.Header, 8)
	for name, value := range link.Provider.Headers {
		h.Set(name, value)
	}
	h["Content-Type"] = jsonType
	h["User-Agent"] = userAgent
	h["Accept"] = jsonType
	if said.Stream {
		h["Accept"] = eventType
	}
	h[RequestIDHeader] = []string{a.ID}
	if link.Provider.Protocol == wire.Anthropic {
		w.forward(h)
	}
	switch secret := key.Secret.Reveal(); {
	case secret == "": // a local server that wants none
	case link.Provider.Protocol == wire.Anthropic:
		h["X-Api-Key"] = []string{secret}
	default:
		h["Authorization"] = []string{"Bearer " + secret}
	}
	r := &http.Request{
		Method: http.MethodPost, URL: at, Host: at.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body.bytes)), Body: body.reader(),
		// For a kept connection that turns out to be closed before anything was
		// written; see the package's comment.
		GetBody: func() (io.ReadCloser, error) { return body.reader(), nil },
	}
	return r.WithContext(ctx)
}

var (
	jsonType  = []string{"application/json"}
	eventType = []string{"text/event-stream"}
	userAgent = []string{"holdfast-llm-gateway"}
)

// forward copies what a client may tell a provider of Anthropic's protocol.
func (w *walk) forward(h http.Header) {
	if beta := w.request.Header.Values("Anthropic-Beta"); len(beta) > 0 {
		h["Anthropic-Beta"] = beta
	}
	if version := w.request.Header.Get("Anthropic-Version"); version != "" {
		h["Anthropic-Version"] = []string{version}
	} else if len(h["Anthropic-Version"]) == 0 {
		h["Anthropic-Version"] = []string{anthropicVersion}
	}
}

// path is what follows the address of a provider of that protocol.
func (w *walk) path(p wire.Protocol) string {
	switch {
	case w.request.Path != "" && p == w.request.Wire.Protocol:
		return w.request.Path
	case p == wire.Anthropic:
		return "/v1/messages"
	default:
		return "/v1/chat/completions"
	}
}

// address joins what an SDK would be given with a path: OpenAI's ends with the
// version, Anthropic's does not.
func address(base, path string) string {
	base = strings.TrimSuffix(base, "/")
	if strings.HasSuffix(base, "/v1") {
		path = strings.TrimPrefix(path, "/v1")
	}
	return base + path
}

// content is the body of a request upstream. The memory of a long one is used again:
// net/http may read a body after it has answered, and on another goroutine, so
// readers are counted. A short one has memory of its own, and is read by what net/http
// knows to be memory: then it sends headers and body in one packet, and not in two.
type content struct {
	bytes []byte
	short bool
	open  atomic.Int64
}

// shortContent is up to what length a body is short. Above it, what a second packet
// costs is less than what the garbage does.
const shortContent = 16 << 10

var contents = sync.Pool{New: func() any { return new(content) }}

// largestKept bounds the memory that is kept for the next request.
const largestKept = 1 << 20

func newContent(said wire.Request, changes wire.Changes) *content {
	if room := len(said.Body) + 256; room <= shortContent {
		return &content{bytes: said.Rewrite(make([]byte, 0, room), changes), short: true}
	}
	c := contents.Get().(*content)
	c.bytes = said.Rewrite(c.bytes[:0], changes)
	return c
}

// done gives the memory back, if nobody can be reading it.
func (c *content) done() {
	if !c.short && c.open.Load() == 0 && cap(c.bytes) <= largestKept {
		contents.Put(c)
	}
}

func (c *content) reader() io.ReadCloser {
	if c.short {
		return io.NopCloser(bytes.NewReader(c.bytes))
	}
	c.open.Add(1)
	r := &contentReader{of: c}
	r.Reset(c.bytes)
	return r
}

// contentReader is one reading of a content. It reads nothing once it is closed,
// also where a Read and Close overlap.
type contentReader struct {
	mu sync.Mutex
	bytes.Reader
	of *content // nil: closed
}

// Read reads on.
func (r *contentReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return r.Reader.Read(p)
}

// WriteTo hides the one of bytes.Reader, which would write while Close does not wait.
func (r *contentReader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}

// Close ends the reading.
func (r *contentReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of != nil {
		r.of.open.Add(-1)
		r.of = nil
		r.Reset(nil)
	}
	return nil
}
