package resilience

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// site answers HTTP requests as it is told, and keeps their bodies.
type site struct {
	*httptest.Server
	seen   atomic.Int64
	bodies chan string
}

func newSite(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request)) *site {
	t.Helper()
	s := &site{bodies: make(chan string, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.bodies <- string(body)
		answer(s.seen.Add(1), w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) client(t *testing.T, cfg Config) (*http.Client, *Dependency) {
	t.Helper()
	d, err := newRegistry(t).Add("site", cfg, nil)
	require.NoError(t, err)
	next := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(next.CloseIdleConnections)
	return &http.Client{Transport: d.Transport(next, time.Second)}, d
}

// ask sends a request and returns the status and the body.
func ask(t *testing.T, c *http.Client, method, url string, body io.Reader, headers ...string) (int, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// TestWhichHTTPRequestsAreSentAgain: no POST without a key, and nothing whose
// body cannot be had again.
func TestWhichHTTPRequestsAreSentAgain(t *testing.T) {
	for name, test := range map[string]struct {
		method  string
		body    io.Reader
		headers []string
		status  int
		sent    int64
	}{
		"GET, unavailable":         {method: "GET", status: 503, sent: 3},
		"GET, bad gateway":         {method: "GET", status: 502, sent: 3},
		"GET, too many":            {method: "GET", status: 429, sent: 3},
		"GET, overloaded":          {method: "GET", status: 529, sent: 3},
		"GET, a bug":               {method: "GET", status: 500, sent: 1},
		"GET, not found":           {method: "GET", status: 404, sent: 1},
		"PUT":                      {method: "PUT", body: strings.NewReader("it"), status: 503, sent: 3},
		"POST":                     {method: "POST", body: strings.NewReader("it"), status: 503, sent: 1},
		"POST with a key":          {method: "POST", body: strings.NewReader("it"), headers: []string{"Idempotency-Key", "k"}, status: 503, sent: 3},
		"a body that is read once": {method: "PUT", body: io.MultiReader(strings.NewReader("it")), status: 503, sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(_ int64, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, "why")
			})
			client, d := s.client(t, quick())
			status, text, err := ask(t, client, test.method, s.URL, test.body, test.headers...)
			require.NoError(t, err)
			require.Equal(t, test.status, status)
			require.Equal(t, "why", text, "the last answer reaches the caller unread")
			require.Equal(t, test.sent, s.seen.Load())
			rested(t, d)
		})
	}
}

// TestTheWholeBodyIsSentAgain.
func TestTheWholeBodyIsSentAgain(t *testing.T) {
	s := newSite(t, func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	client, _ := s.client(t, quick())
	status, _, err := ask(t, client, "PUT", s.URL, bytes.NewReader([]byte("all of it")))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	for range 3 {
		require.Equal(t, "all of it", <-s.bodies)
	}
}

// TestRetryAfterIsObeyed in both of its forms, and not where it would outlast
// the call.
func TestRetryAfterIsObeyed(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"3": 3 * time.Second, "0": 0, "": 0, "soon": 0, "-1": 0,
		"Sun, 01 Nov 2026 12:00:05 GMT": 5 * time.Second,
		"Sun, 01 Nov 2026 11:00:00 GMT": 0, // past
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {value}}, now), value)
	}

	s := newSite(t, func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	client, _ := s.client(t, quick())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err, "the answer, at once: an hour is longer than the caller has")
	response.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.EqualValues(t, 1, s.seen.Load())
}

// TestBodiesOfFailedAttemptsAreClosed, or their connections and their places in
// the bulkhead would leak.
func TestBodiesOfFailedAttemptsAreClosed(t *testing.T) {
	s := newSite(t, func(n int64, w http.ResponseWriter, _ *http.Request) {
		if n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		}
	})
	client, d := s.client(t, quick(func(c *Config) { c.MaxConcurrent = 1 }))
	status, _, err := ask(t, client, "GET", s.URL, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	rested(t, d)
}

// TestAPlaceIsHeldUntilTheBodyIsRead: a slow body is a call in flight.
func TestAPlaceIsHeldUntilTheBodyIsRead(t *testing.T) {
	s := newSite(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "it") })
	client, d := s.client(t, quick())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	require.EqualValues(t, 1, d.inflight.n.Load())
	response.Body.Close()
	rested(t, d)
}

// TestARequestThatNeverLeftIsSentAgain, even a POST: nobody was reached.
func TestARequestThatNeverLeftIsSentAgain(t *testing.T) {
	s := newSite(t, func(int64, http.ResponseWriter, *http.Request) {})
	client, d := s.client(t, quick(func(c *Config) { c.BreakerMinCalls = 3 }))
	s.Close() // nobody listens any more
	_, _, err := ask(t, client, "POST", s.URL, strings.NewReader("it"))
	require.Error(t, err)
	require.Equal(t, "open", d.breaker.state(), "three attempts have failed")
	_, _, err = ask(t, client, "POST", s.URL, strings.NewReader("it"))
	require.Equal(t, apierror.ReasonBreakerOpen, reason(err))
	rested(t, d)
}

// TestAnAttemptOverHTTPHasATimeout that covers the body, too.
func TestAnAttemptOverHTTPHasATimeout(t *testing.T) {
	release := make(chan struct{})
	s := newSite(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	client, d := s.client(t, quick())
	_, _, err := ask(t, client, "POST", s.URL, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	rested(t, d)
}
