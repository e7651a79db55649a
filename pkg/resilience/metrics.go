package resilience

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// What happened to calls, attempts and repeats; the values of labels.
const (
	refusedOpen = "breaker_open"
	refusedFull = "bulkhead_full"

	retrySent     = "retry"
	hedgeSent     = "hedge"
	hedgeWon      = "hedge_won"
	retryNoBudget = "no_budget"
	retryTooLate  = "too_late"
)

var (
	refusals = []string{refusedOpen, refusedFull}
	repeats  = []string{retrySent, hedgeSent, hedgeWon, retryNoBudget, retryTooLate}
)

// meter counts what happens to the calls of one dependency:
//
//	holdfast_client_calls_total{dependency,outcome}            ok, error
//	holdfast_client_attempts_total{dependency}                 sent to it
//	holdfast_client_refused_total{dependency,reason}           breaker_open, bulkhead_full
//	holdfast_client_repeats_total{dependency,event}            retry, hedge, hedge_won, no_budget, too_late
//	holdfast_breaker_transitions_total{dependency,to}          open, half-open, closed
//
// What every call counts is kept here and read when metrics are collected
// ([Registry]): that costs nanoseconds, and a counter of the SDK a third of a
// microsecond. What is rare is counted by the SDK, with attributes made once.
type meter struct {
	ok, failed, attempts           atomic.Int64
	refusals, repeats, transitions metric.Int64Counter
	byName                         map[string]metric.MeasurementOption
}

func newMeter(dependency string) *meter {
	about := otel.Meter("github.com/holdfast-dev/holdfast/pkg/resilience")
	counter := func(name, help string) metric.Int64Counter {
		c, err := about.Int64Counter(name, metric.WithDescription(help))
		if err != nil { // only for a name that breaks the rules
			otel.Handle(err)
		}
		return c
	}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(more, attribute.String("dependency", dependency))...))
	}
	m := &meter{
		refusals:    counter("holdfast_client_refused", "Calls of the dependency that were not made."),
		repeats:     counter("holdfast_client_repeats", "Retries and hedges that were made, or were not."),
		transitions: counter("holdfast_breaker_transitions", "Changes of the circuit breaker's state."),
		byName:      map[string]metric.MeasurementOption{},
	}
	for _, reason := range refusals {
		m.byName[reason] = with(attribute.String("reason", reason))
	}
	for _, event := range repeats {
		m.byName[event] = with(attribute.String("event", event))
	}
	for _, state := range breakerStates {
		m.byName[state] = with(attribute.String("to", state))
	}
	m.beginAtZero()
	return m
}

// beginAtZero publishes what has not happened yet: an increase needs a beginning.
func (m *meter) beginAtZero() {
	nobody := context.Background() // no request is behind it
	for _, reason := range refusals {
		m.refusals.Add(nobody, 0, m.byName[reason])
	}
	for _, event := range repeats {
		m.repeats.Add(nobody, 0, m.byName[event])
	}
	for _, state := range breakerStates[:automaticStates] {
		m.transitions.Add(nobody, 0, m.byName[state])
	}
}

func (m *meter) done(attempts int, ok bool) {
	m.attempts.Add(int64(attempts))
	if ok {
		m.ok.Add(1)
	} else {
		m.failed.Add(1)
	}
}

func (m *meter) refused(ctx context.Context, reason string) { m.refusals.Add(ctx, 1, m.byName[reason]) }

func (m *meter) retry(ctx context.Context, event string) { m.repeats.Add(ctx, 1, m.byName[event]) }

// transition is counted for nobody: whoever happened to cause it is one of many.
func (m *meter) transition(to string) { m.transitions.Add(context.Background(), 1, m.byName[to]) }

// gauge is a number that goes up and down.
type gauge struct{ n atomic.Int64 }

func (g *gauge) add(n int64) { g.n.Add(n) }
