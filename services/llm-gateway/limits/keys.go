package limits

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// ErrRateLimited says that a key has used up what its provider allows in a minute.
var ErrRateLimited = errors.New("the key has used up its limit")

// maxKeys is how many keys are remembered at once: more than a file of routes has.
const maxKeys = 10_000

// keyName is which key of which provider. One whose secret is replaced is still the
// same account, with the same limits.
type keyName struct{ provider, key string }

// Keys is where attempts wait for the concurrency of a provider's key, and are
// measured by its limits. It may be used from many goroutines.
//
// A limit that is used up is no reason to wait: the request may have another key,
// or another provider, that can take it now.
type Keys struct {
	now     func() time.Time
	buckets *buckets[keyName]

	mu     sync.Mutex
	queues map[keyName]*Queue // those of a provider as a whole have no key
}

// NewKeys returns limits of which nothing is used yet.
func NewKeys() *Keys { return newKeys(time.Now) }

func newKeys(now func() time.Time) *Keys {
	return &Keys{now: now, buckets: newBuckets[keyName](maxKeys, now), queues: map[keyName]*Queue{}}
}

// Acquire waits for leave to send a request of so many tokens, an upper bound of
// input and output. Release is to be called once, when it has ended, with the tokens
// that it took.
//
// An error is ErrRateLimited, ErrQueueFull or ErrHopeless, and then retryAfter is
// when the key may be asked again, 0 if nobody knows; or the context's.
func (k *Keys) Acquire(ctx context.Context, provider *routes.Provider, key routes.Key, tokens int64) (release func(actual int64), retryAfter time.Duration, err error) {
	name, limit := keyName{provider.Name, key.Name}, limitOf(key)
	if wait := k.buckets.wait(name, limit, tokens); wait > 0 {
		return nil, wait, ErrRateLimited // a turn would be of no use
	}
	leaveKey, retryAfter, err := k.queue(name, key.MaxConcurrent, key.MaxQueued).Enter(ctx)
	if err != nil {
		return nil, retryAfter, err
	}
	leaveProvider := func() {}
	if provider.MaxConcurrent > 0 {
		// Who waits here has a turn of a key, so those bound how many wait.
		leaveProvider, retryAfter, err = k.queue(keyName{provider: provider.Name}, provider.MaxConcurrent, math.MaxInt).Enter(ctx)
		if err != nil {
			leaveKey()
			return nil, retryAfter, err
		}
	}
	// Only now: who waits uses nothing up.
	reserved, retryAfter, ok := k.buckets.reserve(name, limit, tokens)
	if !ok {
		leaveProvider()
		leaveKey()
		return nil, retryAfter, ErrRateLimited
	}
	return func(actual int64) {
		reserved.Correct(actual)
		leaveProvider()
		leaveKey()
	}, 0, nil
}

// Observe believes the headers of an answer, which have the provider's own count.
func (k *Keys) Observe(provider *routes.Provider, key routes.Key, h http.Header) {
	if requests, tokens := observed(h, k.now()); requests != nil || tokens != nil {
		k.buckets.observe(keyName{provider.Name, key.Name}, limitOf(key), requests, tokens)
	}
}

func limitOf(key routes.Key) rate { return rate{key.RequestsPerMinute, key.TokensPerMinute} }

// queue returns the queue of a name, of the size that the file gives it now. Queues
// in which nobody is are dropped when there are too many.
func (k *Keys) queue(name keyName, concurrent, queued int) *Queue {
	if concurrent <= 0 {
		concurrent = math.MaxInt
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	q, ok := k.queues[name]
	if !ok {
		if len(k.queues) >= maxKeys {
			k.dropEmpty()
		}
		q = newQueue(concurrent, queued, k.now)
		k.queues[name] = q
		return q
	}
	q.Resize(concurrent, queued)
	return q
}

func (k *Keys) dropEmpty() {
	for name, q := range k.queues {
		if running, waiting := q.Load(); running+waiting == 0 {
			delete(k.queues, name)
		}
	}
}
