package dispatch

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// provider is what is known about a provider, and its connections.
type provider struct {
	name      string
	transport *http.Transport
	breaker   *resilience.Dependency // of making connections
	choices   atomic.Int64           // of keys

	mu     sync.RWMutex
	keys   map[string]*key
	models map[string]*target
}

// identity is what a provider's connections are for. One whose address changed
// is another.
type identity struct {
	name, address string
	concurrent    int
}

// provider returns what is known about a provider of a table.
func (d *Dispatcher) provider(config *routes.Provider) (*provider, error) {
	id := identity{config.Name, config.BaseURL, config.MaxConcurrent}
	d.mu.RLock()
	p, ok := d.providers[id]
	d.mu.RUnlock()
	if ok {
		return p, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok = d.providers[id]; ok {
		return p, nil
	}
	breaker, err := d.breakers.Ensure("llm:"+config.Name, d.options.Breaker, nil)
	if err != nil {
		return nil, err
	}
	p = &provider{
		name: config.Name, transport: d.options.transport(config), breaker: breaker,
		keys: map[string]*key{}, models: map[string]*target{},
	}
	d.providers[id] = p
	return p, nil
}

// target is what is known about a model of a provider.
type target struct {
	breaker *resilience.Dependency
	meter   *meter
}

// target returns what is known about a model.
func (d *Dispatcher) target(p *provider, model string) (*target, error) {
	p.mu.RLock()
	t, ok := p.models[model]
	p.mu.RUnlock()
	if ok {
		return t, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok = p.models[model]; ok {
		return t, nil
	}
	breaker, err := d.breakers.Ensure("llm:"+p.name+":"+model, d.options.Breaker, nil)
	if err != nil {
		return nil, err
	}
	t = &target{breaker: breaker, meter: d.metrics.meter(p.name, model)}
	p.models[model] = t
	return t, nil
}

// permits are the leave of both breakers for one attempt.
type permits struct{ provider, model resilience.Permit }

// permit asks both breakers. A reason says that one of them refuses, and the time
// when it may be asked again.
func permit(p *provider, t *target) (permits, Reason, error) {
	model, err := t.breaker.Acquire()
	if err != nil {
		return permits{}, BreakerOpen, err
	}
	whole, err := p.breaker.Acquire()
	if err != nil {
		model.Settle(resilience.Neutral, 0)
		return permits{}, ProviderDown, err
	}
	return permits{provider: whole, model: model}, "", nil
}

// settle tells both breakers whom an attempt counts against. What was answered
// shows that the provider can be reached, whatever the answer; and a request that
// was wrong, that its model works.
func (p permits) settle(reason Reason, against Level) {
	model, whole := resilience.Neutral, resilience.Healthy
	switch {
	case reason == CallerLeft || reason == TotalTimeout || reason == Refused:
		whole = resilience.Neutral
	case against == Provider:
		model, whole = resilience.Failing, resilience.Failing
	case against == Model:
		model = resilience.Failing
	case reason == OK || reason == Invalid:
		model = resilience.Healthy
	}
	p.model.Settle(model, 0)
	p.provider.Settle(whole, 0)
}

// prove ends a half-open probe with the first content.
func (p permits) prove() {
	p.model.Prove()
	p.provider.Prove()
}

// Status is what is known about the health of one provider.
type Status struct {
	Provider string `json:"provider"`
	// Breaker is that of its connections: closed, open, half-open, or forced.
	Breaker string        `json:"breaker"`
	Models  []ModelStatus `json:"models"`
	Keys    []KeyStatus   `json:"keys"`
}

// ModelStatus is the health of a model at its provider.
type ModelStatus struct {
	Model   string `json:"model"`
	Breaker string `json:"breaker"`
	// FailureRate is the part of Calls, those in the breaker's window, that failed.
	FailureRate float64 `json:"failure_rate"`
	Calls       uint    `json:"calls"`
}

// KeyStatus is the health of a key.
type KeyStatus struct {
	Key string `json:"key"`
	// RestsFor is in seconds; 0: it is in use. Why is what made it rest last.
	RestsFor float64 `json:"rests_for_seconds,omitempty"`
	Why      Reason  `json:"why,omitempty"`
	InFlight int64   `json:"in_flight"`
}

func (p *provider) status(now time.Time) Status {
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := Status{Provider: p.name, Breaker: p.breaker.Status().Breaker, Models: []ModelStatus{}, Keys: []KeyStatus{}}
	for name, t := range p.models {
		of := t.breaker.Status()
		s.Models = append(s.Models, ModelStatus{Model: name, Breaker: of.Breaker, FailureRate: of.FailureRate, Calls: of.Calls})
	}
	for name, k := range p.keys {
		of := KeyStatus{Key: name, RestsFor: k.resting(now).Seconds(), InFlight: k.inflight.Load()}
		if of.RestsFor > 0 {
			of.Why = k.reason()
		}
		s.Keys = append(s.Keys, of)
	}
	return s
}
