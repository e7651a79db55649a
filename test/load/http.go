package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// HTTP sends an RPC as `POST` with a JSON body, or as `GET`.
type HTTP struct {
	method      string
	url         func(request proto.Message) string
	header      http.Header
	connections Connections
	clients     []*http.Client
	next        atomic.Uint64
}

// NewHTTP returns a sender of `POST` to url that adds header to every request. Reused
// connections are n, used in turn, so that none stays idle for long: an idle
// connection that the server closes just as a request is written to it fails,
// and HTTP/1.1 gives a client that may not retry no way out.
func NewHTTP(url string, header http.Header, connections Connections, n int) *HTTP {
	return newHTTP(http.MethodPost, func(proto.Message) string { return url }, header, connections, n)
}

// NewHTTPGet returns a sender of `GET`: what is asked for is in the URL that url
// returns for a request.
func NewHTTPGet(url func(request proto.Message) string, header http.Header, connections Connections, n int) *HTTP {
	return newHTTP(http.MethodGet, url, header, connections, n)
}

func newHTTP(method string, url func(proto.Message) string, header http.Header, connections Connections, n int) *HTTP {
	if connections == New {
		n = 1
	}
	h := &HTTP{method: method, url: url, header: header, connections: connections}
	for range n {
		h.clients = append(h.clients, &http.Client{
			Transport: &http.Transport{
				DisableKeepAlives:   connections == New,
				MaxIdleConnsPerHost: 1,
				DisableCompression:  true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		})
	}
	return h
}

// Name says how it sends.
func (h *HTTP) Name() string { return "HTTP, " + h.connections.String() }

// Close closes the idle connections; none is in use when nothing is under way.
func (h *HTTP) Close() {
	for _, c := range h.clients {
		c.CloseIdleConnections()
	}
}

// Send performs one attempt.
func (h *HTTP) Send(ctx context.Context, key string, message proto.Message) Exchange {
	request, err := h.request(ctx, message)
	if err != nil {
		return Exchange{Err: err}
	}
	// net/http replays requests with an Idempotency-Key by itself when it can
	// rewind their body. Here that would hide a dropped request.
	request.GetBody = nil
	for name, values := range h.header {
		request.Header[name] = values
	}
	if h.method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", key)
	}

	client := h.clients[h.next.Add(1)%uint64(len(h.clients))]
	response, err := client.Do(request)
	if err != nil {
		return Exchange{Err: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return Exchange{Err: err}
	}
	exchange := Exchange{
		OK:       response.StatusCode/100 == 2,
		Code:     "http " + strconv.Itoa(response.StatusCode),
		Body:     answer,
		Replayed: response.Header.Get("Idempotent-Replayed") == "true",
		Version:  response.Header.Get("Holdfast-Version"),
	}
	if !exchange.OK {
		exchange.readProblem()
	}
	return exchange
}

// request is the message as an HTTP request.
func (h *HTTP) request(ctx context.Context, message proto.Message) (*http.Request, error) {
	if h.method == http.MethodGet {
		return http.NewRequestWithContext(ctx, h.method, h.url(message), http.NoBody)
	}
	body, err := protojson.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return http.NewRequestWithContext(ctx, h.method, h.url(message), bytes.NewReader(body))
}

// readProblem reads an RFC 9457 body; another body leaves the reason empty.
func (e *Exchange) readProblem() {
	var problem struct {
		Reason       string `json:"reason"`
		Detail       string `json:"detail"`
		Retry        string `json:"retry"`
		RetryAfterMS int64  `json:"retry_after_ms"`
		Metadata     struct {
			ResumeToken string `json:"resume_token"`
		} `json:"metadata"`
	}
	if json.Unmarshal(e.Body, &problem) != nil {
		e.Detail = string(e.Body[:min(len(e.Body), 200)])
		return
	}
	e.Reason, e.Detail, e.Retry = problem.Reason, problem.Detail, problem.Retry
	e.RetryAfter = time.Duration(problem.RetryAfterMS) * time.Millisecond
	e.ResumeToken = problem.Metadata.ResumeToken
}
