package dispatch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// metrics are what the attempts of a process come to:
//
//	holdfast_llm_attempts_total{provider,model,outcome}             the outcomes are the Reasons
//	holdfast_llm_fallbacks_total{provider,model}                    requests answered by another target than their first
//	holdfast_llm_tokens_total{provider,model,kind}                  input, cache_read, cache_write, output
//	holdfast_llm_first_token_seconds{provider,model}                from the sending to the first content of streams
//	holdfast_llm_answer_seconds{provider,model}                     to the end of answers that are not streamed
//	holdfast_llm_keys_resting{provider,reason}                      keys that are not used now
//
// Labels have the names of the file of routes, so there are as many as it has;
// what clients send is not among them. What every attempt counts is kept here
// and read when metrics are collected: that costs nanoseconds.
type metrics struct {
	firstToken, answer metric.Float64Histogram
	stop               func() error

	mu     sync.Mutex
	meters map[[2]string]*meter
}

// meter counts for one model of a provider.
type meter struct {
	provider, model string
	ends            []atomic.Int64 // by the index in ends
	fallbacks       atomic.Int64
	tokens          [len(tokenKinds)]atomic.Int64
	attributes      metric.MeasurementOption
}

// tokenKinds are those that have a price. Output has the reasoning in it.
var tokenKinds = [...]string{"input", "cache_read", "cache_write", "output"}

// buckets are seconds, from an answer of a small model to the patience of callers.
var buckets = []float64{0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 25, 50, 100, 200}

func newMetrics(d *Dispatcher) *metrics {
	about := otel.Meter("github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch")
	m := &metrics{meters: map[[2]string]*meter{}, stop: func() error { return nil }}
	m.firstToken, _ = about.Float64Histogram("holdfast_llm_first_token_seconds", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(buckets...), metric.WithDescription("Time from the sending of a request to the first content of its stream."))
	m.answer, _ = about.Float64Histogram("holdfast_llm_answer_seconds", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(buckets...), metric.WithDescription("Time from the sending of a request to the end of its answer, if it is not a stream."))
	attempts, _ := about.Int64ObservableCounter("holdfast_llm_attempts", metric.WithDescription("Requests sent to providers, by how they ended."))
	fallbacks, _ := about.Int64ObservableCounter("holdfast_llm_fallbacks", metric.WithDescription("Requests that were answered by another target than the first of their route."))
	tokens, _ := about.Int64ObservableCounter("holdfast_llm_tokens", metric.WithDescription("Tokens of answers, as the provider counts or as was seen of them."))
	resting, _ := about.Int64ObservableGauge("holdfast_llm_keys_resting", metric.WithDescription("Keys that are not used now, by what the provider said of them."))
	registration, err := about.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, t := range m.all() {
			of := []attribute.KeyValue{attribute.String("provider", t.provider), attribute.String("model", t.model)}
			for i, end := range ends {
				o.ObserveInt64(attempts, t.ends[i].Load(), metric.WithAttributes(append(of[:2:2], attribute.String("outcome", string(end)))...))
			}
			o.ObserveInt64(fallbacks, t.fallbacks.Load(), metric.WithAttributes(of...))
			for i, kind := range tokenKinds {
				o.ObserveInt64(tokens, t.tokens[i].Load(), metric.WithAttributes(append(of[:2:2], attribute.String("kind", kind))...))
			}
		}
		for of, n := range d.resting(time.Now()) {
			o.ObserveInt64(resting, n, metric.WithAttributes(attribute.String("provider", of.provider), attribute.String("reason", string(of.why))))
		}
		return nil
	}, attempts, fallbacks, tokens, resting)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return m
	}
	m.stop = registration.Unregister
	return m
}

// meter returns the counters of a model.
func (m *metrics) meter(provider, model string) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := [2]string{provider, model}
	t, ok := m.meters[id]
	if !ok {
		t = &meter{
			provider: provider, model: model, ends: make([]atomic.Int64, len(ends)),
			attributes: metric.WithAttributeSet(attribute.NewSet(attribute.String("provider", provider), attribute.String("model", model))),
		}
		m.meters[id] = t
	}
	return t
}

func (m *metrics) all() []*meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make([]*meter, 0, len(m.meters))
	for _, t := range m.meters {
		found = append(found, t)
	}
	return found
}

func (t *meter) ended(reason Reason, u wire.Usage) {
	for i := range ends {
		if ends[i] == reason {
			t.ends[i].Add(1)
			break
		}
	}
	for i, n := range [...]int64{u.Input, u.CacheRead, u.CacheWrite + u.CacheWrite1h, u.Output} {
		if n > 0 {
			t.tokens[i].Add(n)
		}
	}
}

// whose keys rest, and why.
type whose struct {
	provider string
	why      Reason
}

// restReasons are why keys rest.
var restReasons = []Reason{RateLimited, QuotaExhausted, KeyBroken}

// resting counts the keys that rest; what has none is there with 0.
func (d *Dispatcher) resting(now time.Time) map[whose]int64 {
	counts := map[whose]int64{}
	for _, s := range d.statuses(now) {
		for _, why := range restReasons {
			counts[whose{s.Provider, why}] += 0
		}
		for _, k := range s.Keys {
			if k.RestsFor > 0 {
				counts[whose{s.Provider, k.Why}]++
			}
		}
	}
	return counts
}
