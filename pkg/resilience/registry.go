package resilience

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Registry has all dependencies of a process: it makes them, shows them, and is
// where an operator forces a breaker.
type Registry struct {
	log   *slog.Logger
	stop  func() error // of the metrics
	mu    sync.Mutex
	known map[string]*Dependency
}

// NewRegistry returns an empty Registry. Close it.
func NewRegistry(log *slog.Logger) *Registry {
	r := &Registry{log: log, known: map[string]*Dependency{}}
	r.stop = r.measure()
	return r
}

// Close stops the metrics of all dependencies; they can still be called.
func (r *Registry) Close() error { return r.stop() }

// Add makes a dependency by a name that is unique in the process, such as
// "payments". Policies are those of the services that are called; nil for a
// dependency that does not speak gRPC.
func (r *Registry) Add(name string, cfg Config, policies *policy.Set) (*Dependency, error) {
	if err := cfg.Check(""); err != nil {
		return nil, fmt.Errorf("dependency %s: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.known[name]; taken {
		return nil, fmt.Errorf("dependency %s exists already", name)
	}
	d := newDependency(name, cfg, policies, r.log)
	r.known[name] = d
	return d, nil
}

// all returns the dependencies by name.
func (r *Registry) all() []*Dependency {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Sorted(maps.Keys(r.known))
	found := make([]*Dependency, 0, len(names))
	for _, name := range names {
		found = append(found, r.known[name])
	}
	return found
}

// Status is what is known about one dependency.
type Status struct {
	Dependency string `json:"dependency"`
	// Breaker is closed, open, half-open, forced_open or forced_closed.
	Breaker string `json:"breaker"`
	// FailureRate is the part of the calls in the breaker's window that failed,
	// and Calls how many they are.
	FailureRate float64 `json:"failure_rate"`
	Calls       uint    `json:"calls"`
	// ReopensIn is how long an open breaker stays so, in seconds.
	ReopensIn float64 `json:"probes_in_seconds,omitempty"`
	// InFlight calls of at most MaxConcurrent.
	InFlight      int64 `json:"in_flight"`
	MaxConcurrent int   `json:"max_concurrent"`
	// RetriesLeft is what the retry budget could pay for now.
	RetriesLeft float64 `json:"retries_left"`
}

// Status returns what is known about the dependency now.
func (d *Dependency) Status() Status {
	counted := d.breaker.circuit.Metrics()
	return Status{
		Dependency:    d.name,
		Breaker:       d.breaker.state(),
		FailureRate:   counted.FailureRate(),
		Calls:         counted.Executions(),
		ReopensIn:     d.breaker.circuit.RemainingDelay().Seconds(),
		InFlight:      d.inflight.n.Load(),
		MaxConcurrent: d.cfg.MaxConcurrent,
		RetriesLeft:   d.budget.left(),
	}
}

// Status returns what is known about every dependency, by name.
func (r *Registry) Status() []Status {
	statuses := []Status{}
	for _, d := range r.all() {
		statuses = append(statuses, d.Status())
	}
	return statuses
}

// breakerStates are the states that metrics show.
var breakerStates = []string{"closed", "open", "half-open", "forced_open", "forced_closed"}

// automaticStates are those of them, first, that a breaker gets into by itself.
const automaticStates = 3

// measure publishes the state of every dependency:
//
//	holdfast_breaker_state{dependency,state}    1 for the state it is in, 0 for the others
//	holdfast_bulkhead_in_flight{dependency}     calls in flight
//	holdfast_bulkhead_max{dependency}           and how many there may be
//	holdfast_retry_budget{dependency}           retries that could be paid for now
//
// and what each has counted of its calls and attempts.
func (r *Registry) measure() (stop func() error) {
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/resilience")
	state, _ := meter.Int64ObservableGauge("holdfast_breaker_state", metric.WithDescription("1 for the state that the circuit breaker is in."))
	inflight, _ := meter.Int64ObservableGauge("holdfast_bulkhead_in_flight", metric.WithDescription("Calls of the dependency in flight."))
	most, _ := meter.Int64ObservableGauge("holdfast_bulkhead_max", metric.WithDescription("Calls of the dependency that may be in flight."))
	left, _ := meter.Float64ObservableGauge("holdfast_retry_budget", metric.WithDescription("Retries that the budget could pay for now."))
	calls, _ := meter.Int64ObservableCounter("holdfast_client_calls", metric.WithDescription("Calls of the dependency, however many attempts each took."))
	attempts, _ := meter.Int64ObservableCounter("holdfast_client_attempts", metric.WithDescription("Attempts that calls of the dependency took."))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, d := range r.all() {
			s, of := d.Status(), attribute.String("dependency", d.name)
			o.ObserveInt64(calls, d.meter.ok.Load(), metric.WithAttributes(of, attribute.String("outcome", "ok")))
			o.ObserveInt64(calls, d.meter.failed.Load(), metric.WithAttributes(of, attribute.String("outcome", "error")))
			o.ObserveInt64(attempts, d.meter.attempts.Load(), metric.WithAttributes(of))
			for _, name := range breakerStates {
				var is int64
				if s.Breaker == name {
					is = 1
				}
				o.ObserveInt64(state, is, metric.WithAttributes(of, attribute.String("state", name)))
			}
			o.ObserveInt64(inflight, s.InFlight, metric.WithAttributes(of))
			o.ObserveInt64(most, int64(s.MaxConcurrent), metric.WithAttributes(of))
			o.ObserveFloat64(left, s.RetriesLeft, metric.WithAttributes(of))
		}
		return nil
	}, state, inflight, most, left, calls, attempts)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return func() error { return nil }
	}
	return registration.Unregister
}
