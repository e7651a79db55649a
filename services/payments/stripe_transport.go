package payments

import (
	"errors"
	"io"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/holdfast-dev/holdfast/pkg/resilience"
)

// maxStripeAnswer is more than a page of a hundred objects has.
const maxStripeAnswer = 8 << 20

// stripeTransport keeps to our rules what the SDK sends.
type stripeTransport struct{ next http.RoundTripper }

// newStripeClient is the HTTP client for the SDK, and what closes its idle
// connections.
func newStripeClient(timeout time.Duration, dependency *resilience.Dependency) (*http.Client, func()) {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: timeout,
	}
	traced := http.RoundTripper(otelhttp.NewTransport(transport))
	if dependency != nil {
		traced = dependency.Transport(traced, 0)
	}
	client := &http.Client{
		Transport: stripeTransport{traced},
		// An API does not redirect: whoever does is in between.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, transport.CloseIdleConnections
}

// RoundTrip makes the request. Questions may be repeated below, operations not:
// whether to send one again is the completer's to decide, and both net/http and
// the dependency's retries can do so only with GetBody, which the SDK always
// sets.
func (t stripeTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet {
		request = request.Clone(request.Context())
		request.GetBody = nil
	}
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: maxStripeAnswer}
	return response, nil
}

// boundedBody fails a body that is too large: the SDK reads whatever comes.
type boundedBody struct {
	io.ReadCloser
	left int64
}

var errTooLarge = errors.New("the answer is too large")

// Read reads, up to the bound.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errTooLarge
	}
	return n, err
}
