package dispatch

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// Options are what a Dispatcher is made of. Only Breakers must be given.
type Options struct {
	// Log gets what somebody should look at: a key that is not accepted.
	Log *slog.Logger
	// Breakers is where the breakers of providers and models are added, as
	// "llm:<provider>" and "llm:<provider>:<model>"; an operator forces them there.
	Breakers *resilience.Registry
	// Breaker is how all of them are; the zero Config is [DefaultBreaker].
	Breaker resilience.Config
	// Gate is where attempts wait for the limits of a key; nil: they do not.
	Gate Gate
	// Backoff is the pause before a second attempt if nobody says how long, 0.5 s
	// if zero; it doubles up to MaxBackoff, 8 s if zero. A longer pause is not
	// waited for at all while there is another target.
	Backoff, MaxBackoff time.Duration
	// LongRest is how long a key is left alone that is not accepted, or whose
	// account has nothing to spend; 5 min if zero.
	LongRest time.Duration
	// MaxBody is the largest answer that is not streamed, in bytes; 32 MiB if zero.
	MaxBody int64
	// MaxEvent is the largest event of a stream, and the most that is kept of a
	// stream before its first content, in bytes; 1 MiB if zero.
	MaxEvent int
	// MaxDetached is the most that is read of a stream that was left, in bytes; 32
	// MiB if zero.
	MaxDetached int64
	// Transport changes how connections are made, such as which certificates are
	// trusted; nil: nothing.
	Transport func(*http.Transport)
}

// DefaultBreaker is the Config of breakers that is right for models: requests are
// few and long, so it counts over half a minute, and ten calls are enough.
func DefaultBreaker() resilience.Config {
	cfg := resilience.Defaults()
	cfg.BreakerWindow, cfg.BreakerMinCalls, cfg.BreakerOpenFor, cfg.BreakerProbes = 30*time.Second, 10, 10*time.Second, 2
	return cfg
}

// Dispatcher sends requests to providers. It has the state that requests share:
// connections, keys that rest, breakers. It may be used by any number of
// goroutines. Close it.
type Dispatcher struct {
	options  Options
	breakers *resilience.Registry
	metrics  *metrics

	mu        sync.RWMutex
	providers map[identity]*provider

	detached detached
}

// New returns a Dispatcher that knows nothing yet: it learns of providers, models
// and keys from the routes of requests, so that a table may change at any time.
func New(o Options) (*Dispatcher, error) {
	if o.Breakers == nil {
		return nil, errors.New("dispatch: Options.Breakers is missing")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Backoff = cmp.Or(o.Backoff, 500*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 8*time.Second)
	o.LongRest = cmp.Or(o.LongRest, 5*time.Minute)
	o.MaxBody = cmp.Or(o.MaxBody, 32<<20)
	o.MaxEvent = cmp.Or(o.MaxEvent, 1<<20)
	o.MaxDetached = cmp.Or(o.MaxDetached, 32<<20)
	if o.Gate == nil {
		o.Gate = open{}
	}
	if o.Breaker == (resilience.Config{}) {
		o.Breaker = DefaultBreaker()
	}
	if err := o.Breaker.Check("dispatch: breaker: "); err != nil {
		return nil, err
	}
	d := &Dispatcher{options: o, breakers: o.Breakers, providers: map[identity]*provider{}}
	d.detached.init()
	d.metrics = newMetrics(d)
	return d, nil
}

// Request is what is to be answered.
type Request struct {
	// ID is what the attempts are numbered under upstream: a UUID.
	ID string
	// Route is the chain and its bounds.
	Route *routes.Route
	// Wire is the request in the protocol that its client speaks.
	Wire wire.Request
	// Path is what follows the provider's address, as the client said it, such as
	// /v1/messages; "" for the protocol's way to generate. A /v1 that both the
	// address and the path have is said once.
	Path string
	// Opaque is set for a request whose answer is no generation, such as a count of
	// tokens: it is given as it is, and has no usage.
	Opaque bool
	// Header has the client's headers. Only anthropic-version and anthropic-beta
	// are sent on, to providers that speak Anthropic's protocol: whose account pays
	// is the provider's key's to say, and the file's.
	Header http.Header
	// Say says the request in another protocol, for targets that speak that; nil,
	// or an error: they are passed over.
	Say func(wire.Protocol) (wire.Request, error)
	// Books is told of every attempt; nil: nobody is.
	Books Books
}

// Answer is a provider's answer of status 200, whole or begun.
type Answer struct {
	// Protocol is what it is said in: that of the target.
	Protocol wire.Protocol
	Status   int
	// Header has the provider's Content-Type, and its name of the request in
	// Request-Id, if it gave one.
	Header http.Header
	// Body is the whole answer, if the request did not ask for a stream.
	Body []byte
	// Read is what was read of Body, and Outcome what the books need of it.
	Read    wire.Answer
	Outcome Outcome
	// Stream is the answer from its beginning, if one was asked for. Its first
	// content has arrived. It must be closed, left or detached.
	Stream *Stream
	// Attempt is the one that answered.
	Attempt Attempt
	// Path is the way that the request went, and Attempts how often it was sent.
	Path     []Try
	Attempts int
}

// Status returns what is known about the providers that were asked so far, by
// name.
func (d *Dispatcher) Status() []Status { return d.statuses(time.Now()) }

func (d *Dispatcher) statuses(now time.Time) []Status {
	d.mu.RLock()
	defer d.mu.RUnlock()
	found := []Status{}
	for _, p := range d.providers {
		s := p.status(now)
		slices.SortFunc(s.Models, func(a, b ModelStatus) int { return cmp.Compare(a.Model, b.Model) })
		slices.SortFunc(s.Keys, func(a, b KeyStatus) int { return cmp.Compare(a.Key, b.Key) })
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b Status) int { return cmp.Compare(a.Provider, b.Provider) })
	return found
}

// Close waits for the streams that were detached, and breaks off those that are
// not at their end when the context ends. Streams of callers are theirs to close,
// before.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.detached.close(ctx)
	d.mu.RLock()
	for _, p := range d.providers {
		p.transport.CloseIdleConnections()
	}
	d.mu.RUnlock()
	return d.metrics.stop()
}
