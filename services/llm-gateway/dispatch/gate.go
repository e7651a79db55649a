package dispatch

import (
	"context"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// Gate is where attempts wait for the rate limits and the concurrency of a
// provider's key.
type Gate interface {
	// Acquire waits for leave to send a request of so many tokens, an upper bound
	// of input and output. An error means that there is none: another key is
	// tried, and retryAfter is when this one may be asked again, zero if nobody
	// knows. An error of the context is the caller's.
	//
	// Release is called once, when the attempt has ended, with the tokens that it
	// took.
	Acquire(ctx context.Context, provider *routes.Provider, key routes.Key, tokens int64) (release func(actual int64), retryAfter time.Duration, err error)
	// Observe is told the headers of every answer of the key, which has the
	// provider's own count.
	Observe(provider *routes.Provider, key routes.Key, h http.Header)
}

// open is the gate where there is none.
type open struct{}

// Acquire lets everything pass.
func (open) Acquire(context.Context, *routes.Provider, routes.Key, int64) (func(int64), time.Duration, error) {
	return func(int64) {}, 0, nil
}

// Observe looks away.
func (open) Observe(*routes.Provider, routes.Key, http.Header) {}
