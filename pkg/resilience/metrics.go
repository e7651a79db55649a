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
// Attributes are made once: the hot path only adds.
type meter struct {
	calls, attempts, refusals, repeats, transitions metric.Int64Counter
	ok, failed, of                                  metric.MeasurementOption
	byName                                          map[string]metric.MeasurementOption
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
		calls:       counter("holdfast_client_calls", "Calls of the dependency, however many attempts each took."),
		attempts:    counter("holdfast_client_attempts", "Attempts that calls of the dependency took."),
		refusals:    counter("holdfast_client_refused", "Calls of the dependency that were not made."),
		repeats:     counter("holdfast_client_repeats", "Retries and hedges that were made, or were not."),
		transitions: counter("holdfast_breaker_transitions", "Changes of the circuit breaker's state."),
		ok:          with(attribute.String("outcome", "ok")),
		failed:      with(attribute.String("outcome", "error")),
		of:          with(),
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
	m.calls.Add(nobody, 0, m.ok)
	m.calls.Add(nobody, 0, m.failed)
	m.attempts.Add(nobody, 0, m.of)
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

func (m *meter) done(ctx context.Context, attempts int, ok bool) {
	m.attempts.Add(ctx, int64(attempts), m.of)
	if ok {
		m.calls.Add(ctx, 1, m.ok)
	} else {
		m.calls.Add(ctx, 1, m.failed)
	}
}

func (m *meter) refused(ctx context.Context, reason string) { m.refusals.Add(ctx, 1, m.byName[reason]) }

func (m *meter) retry(ctx context.Context, event string) { m.repeats.Add(ctx, 1, m.byName[event]) }

// transition is counted for nobody: whoever happened to cause it is one of many.
func (m *meter) transition(to string) { m.transitions.Add(context.Background(), 1, m.byName[to]) }

// gauge is a number that goes up and down.
type gauge struct{ n atomic.Int64 }

func (g *gauge) add(n int64) { g.n.Add(n) }
