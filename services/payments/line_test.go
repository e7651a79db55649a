package payments

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// line is what lies between us and a processor. It passes everything on, until
// it is told to disturb something.
type line struct {
	url   string
	proxy *httputil.ReverseProxy

	mu     sync.Mutex
	method string
	now    *disturbance
	spoilt int
}

// disturbance is a way to spoil an exchange.
type disturbance struct {
	name string
	// arrives says that the request reaches the processor; only the answer is
	// spoilt then.
	arrives bool
	spoil   func(w http.ResponseWriter, r *http.Request, answer *httptest.ResponseRecorder)
}

// disturbances are the ways in which an outcome stays unknown.
var disturbances = []disturbance{
	{"the connection breaks before", false, breakOff},
	{"the connection breaks after", true, breakOff},
	{"silence before", false, silence},
	{"silence after", true, silence},
	{"a 500 before", false, status(http.StatusInternalServerError, `{"error":{"type":"api_error","code":"internal"}}`)},
	{"a 500 after", true, status(http.StatusInternalServerError, `{"error":{"type":"api_error","code":"internal"}}`)},
	{"a 502 of somebody between", true, status(http.StatusBadGateway, "<html>bad gateway</html>")},
	{"a 503 before", false, status(http.StatusServiceUnavailable, `{"error":{}}`)},
	{"too many requests", false, status(http.StatusTooManyRequests, `{"error":{"type":"invalid_request_error","code":"rate_limit"}}`)},
	{"a 404 of somebody between", false, status(http.StatusNotFound, "<html>no such site</html>")},
	{"a 403 of somebody between", false, status(http.StatusForbidden, "<html>go away</html>")},
	{"a login page", false, status(http.StatusOK, "<html>who are you?</html>")},
	{"an empty answer", true, status(http.StatusOK, "")},
	{"half an answer", true, halfAnAnswer},
}

// abort closes the connection: net/http does so for this panic, and logs nothing.
func abort() { panic(http.ErrAbortHandler) }

func breakOff(http.ResponseWriter, *http.Request, *httptest.ResponseRecorder) { abort() }

func silence(_ http.ResponseWriter, r *http.Request, _ *httptest.ResponseRecorder) {
	<-r.Context().Done()
	abort()
}

func status(code int, body string) func(http.ResponseWriter, *http.Request, *httptest.ResponseRecorder) {
	return func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func halfAnAnswer(w http.ResponseWriter, _ *http.Request, answer *httptest.ResponseRecorder) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	_ = http.NewResponseController(w).Flush() // or the half would not be sent at all
	abort()
}

func startLine(t *testing.T, to string) *line {
	t.Helper()
	target, err := url.Parse(to)
	require.NoError(t, err)
	l := &line{proxy: httputil.NewSingleHostReverseProxy(target)}
	l.proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // clients that give up are the point
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// disturb spoils every exchange with the method while f runs, and returns how
// many there were.
func (l *line) disturb(method string, d disturbance, f func()) (exchanges int) {
	l.mu.Lock()
	l.method, l.now, l.spoilt = method, &d, 0
	l.mu.Unlock()
	f()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = nil
	return l.spoilt
}

// strikes is what happens to a request with the method; nil if nothing does.
func (l *line) strikes(method string) *disturbance {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || l.method != method {
		return nil
	}
	l.spoilt++
	return l.now
}

// ServeHTTP passes a request on, or spoils it.
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := l.strikes(r.Method)
	if d == nil {
		l.proxy.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body) // or a client that goes away is not noticed
	if err != nil {
		abort()
	}
	var answer *httptest.ResponseRecorder
	if d.arrives {
		answer = httptest.NewRecorder()
		onward := r.Clone(context.WithoutCancel(r.Context()))
		onward.Body = io.NopCloser(bytes.NewReader(body))
		l.proxy.ServeHTTP(answer, onward)
	}
	d.spoil(w, r, answer)
}
