package main

import (
	"context"
	_ "embed"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/linger"
)

// routes say which service answers a path of the front port: the path itself
// and everything below it.
var routes = []struct{ path, service string }{
	{"/v1/orders", local.Orders},
	{"/v1/products", local.Orders},
	{"/v1/payments", local.Payments},
	{"/v1/llm", local.LLMGateway},
	{"/v1/chat", local.LLMGateway},
	{"/v1/completions", local.LLMGateway},
	{"/v1/embeddings", local.LLMGateway},
	{"/v1/messages", local.LLMGateway},
	{"/v1/models", local.LLMGateway},
	{"/v1/responses", local.LLMGateway},
	{"/openapi.json", local.Orders},
	{"/docs", local.Orders},
}

// restartPatience is how long a request waits for a service that is being
// started again. Nothing was sent yet, so waiting is always safe.
const restartPatience = 10 * time.Second

// front answers the front port: the whole HTTP API by path, and an index page.
type front struct {
	services map[string]local.Addresses
	proxies  map[string]http.Handler // by service
	leaving  chan struct{}           // closed when the streams that it passes on end
}

func newFront(services map[string]local.Addresses) *front {
	f := &front{services: services, proxies: map[string]http.Handler{}, leaving: make(chan struct{})}
	for _, route := range routes {
		f.proxies[route.service] = newProxy(services[route.service].HTTP, f.ends(route.service))
	}
	return f
}

// ends is what ends the streams of a service. One that follows something has no end
// of its own, and its reader goes on elsewhere. What a language model says has an
// end, which is waited for as for any other answer: half of it must not look whole.
func (f *front) ends(service string) <-chan struct{} {
	if service == local.LLMGateway {
		return nil
	}
	return f.leaving
}

// newFrontServer serves the front of services at these addresses. There is no
// limit on an answer: a stream may last. It ends when the server shuts down.
func newFrontServer(services map[string]local.Addresses) *http.Server {
	f := newFront(services)
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 75 * time.Second}
	server.RegisterOnShutdown(sync.OnceFunc(func() { close(f.leaving) }))
	return server
}

// ServeHTTP passes the request on to the service whose path it is.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	finish := linger.Watch(w, r) // for a body that nobody wants
	f.pass(w, r)
	finish()
}

func (f *front) pass(w http.ResponseWriter, r *http.Request) {
	for _, route := range routes {
		// A custom verb belongs to its collection: /v1/payments:charge.
		if rest, ok := strings.CutPrefix(r.URL.Path, route.path); ok && (rest == "" || rest[0] == '/' || rest[0] == ':') {
			f.proxies[route.service].ServeHTTP(w, r)
			return
		}
	}
	if r.URL.Path != "/" {
		apierror.WriteProblem(w, apierror.New(apierror.ReasonUnknownMethod, "there is nothing at this path; / links to what there is"))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = indexPage.Execute(w, f.services) // a browser that left is not told
}

// newProxy passes requests on to one service. Each travels on a connection of
// its own: a pooled one may die with the service just as a request is written
// to it, and a request that was perhaps seen must not be sent twice by us. Streams
// end with leaving, if it is not nil.
func newProxy(address string, leaving <-chan struct{}) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			DialContext:        dialPatiently,
			DisableKeepAlives:  true,
			DisableCompression: true,
		},
		FlushInterval: -1, // streams are passed on as they come
		ModifyResponse: func(r *http.Response) error {
			switch r.Header.Get("Content-Type") {
			case "text/event-stream", "application/x-ndjson":
				if leaving != nil {
					r.Body = endWith(r.Body, leaving)
				}
			}
			return nil
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			apierror.WriteProblem(w, apierror.New(apierror.ReasonDependencyUnavailable,
				"the service went away before it answered; send the request again with the same Idempotency-Key",
				apierror.WithRetryAfter(time.Second), apierror.WithCause(err)))
		},
	}
}

// endingStream is an answer that ends when its proxy leaves: a shutdown waits for
// answers, and this one has no end of its own. Who reads it goes on elsewhere, from
// the last message.
type endingStream struct {
	io.ReadCloser
	leaving <-chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func endWith(stream io.ReadCloser, leaving <-chan struct{}) *endingStream {
	s := &endingStream{ReadCloser: stream, leaving: leaving, closed: make(chan struct{})}
	go func() { // ends with the stream
		select {
		case <-leaving:
			_ = stream.Close() // whoever reads it now reads no further
		case <-s.closed:
		}
	}()
	return s
}

// Read reads until the proxy leaves.
func (s *endingStream) Read(into []byte) (int, error) {
	n, err := s.ReadCloser.Read(into)
	select {
	case <-s.leaving:
		return n, io.EOF
	default:
		return n, err
	}
}

// Close closes the stream.
func (s *endingStream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.ReadCloser.Close()
}

// dialPatiently dials until somebody listens.
func dialPatiently(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

//go:embed index.html
var indexText string

var indexPage = template.Must(template.New("index").Parse(indexText))
