package shed

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// outcome is what became of a call at the door.
type outcome int

const (
	acceptedAtOnce    outcome = iota
	acceptedAfterWait         // it was in the queue
	shedFull                  // the queue was full of calls that matter as much
	shedWait                  // it waited for as long as a call may
	shedOutranked             // a call that matters more, or a newer one, took its place in the queue
	shedDeadline              // its deadline left no time to wait
	shedGone                  // its caller left while it waited
	outcomes
)

// labels are an outcome's labels of holdfast_shed_requests_total.
var labels = [outcomes]struct{ outcome, reason string }{
	acceptedAtOnce:    {"accepted", "room"},
	acceptedAfterWait: {"accepted", "waited"},
	shedFull:          {"shed", "queue_full"},
	shedWait:          {"shed", "max_wait"},
	shedOutranked:     {"shed", "outranked"},
	shedDeadline:      {"shed", "deadline"},
	shedGone:          {"shed", "caller_left"},
}

// measure publishes what s counts, and returns how to stop:
//
//	holdfast_shed_requests_total{criticality,outcome,reason}   calls let in and refused
//	holdfast_shed_limit                                        calls that may be in flight
//	holdfast_shed_inflight                                     calls that are
//	holdfast_shed_queued                                       calls that wait
//
// The counts are read when somebody asks: a call pays for an addition.
func (s *Shedder) measure() (stop func() error) {
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/resilience/shed")
	requests, _ := meter.Int64ObservableCounter("holdfast_shed_requests", metric.WithDescription("Calls that were let in and calls that were refused, by criticality."))
	limit, _ := meter.Int64ObservableGauge("holdfast_shed_limit", metric.WithDescription("How many calls may be in flight now."))
	inFlight, _ := meter.Int64ObservableGauge("holdfast_shed_inflight", metric.WithDescription("Calls in flight."))
	queued, _ := meter.Int64ObservableGauge("holdfast_shed_queued", metric.WithDescription("Calls that wait for their turn."))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		r := s.read()
		o.ObserveInt64(limit, int64(r.limit))
		o.ObserveInt64(inFlight, int64(r.inFlight))
		o.ObserveInt64(queued, int64(r.queued))
		for l := range levels {
			for i, n := range r.counts[l] { // zeros too: an increase needs a beginning
				o.ObserveInt64(requests, n, metric.WithAttributeSet(attribute.NewSet(
					attribute.String("criticality", levels[l].name),
					attribute.String("outcome", labels[i].outcome),
					attribute.String("reason", labels[i].reason),
				)))
			}
		}
		return nil
	}, requests, limit, inFlight, queued)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return func() error { return nil }
	}
	return registration.Unregister
}
