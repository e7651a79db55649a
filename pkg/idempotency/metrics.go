package idempotency

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Outcomes of a keyed request, as the metric names them.
const (
	outcomeFresh        = "fresh"
	outcomeReplayed     = "replayed"
	outcomeInFlight     = "in_flight"
	outcomeMismatch     = "mismatch"
	outcomeExpired      = "expired"
	outcomeFuture       = "future"
	outcomeUnverifiable = "unverifiable"
	outcomeSealed       = "sealed"
	outcomeFenced       = "fenced"
)

type instruments struct {
	requests          metric.Int64Counter
	missingPartitions metric.Int64Counter
	takeovers         metric.Int64Counter
	undecided         metric.Int64Gauge
	undecidedAge      metric.Float64Gauge
	partitions        metric.Int64Gauge
}

// meters makes the instruments when they are first used, after telemetry has
// set the meter provider. Instruments cannot fail to be made with these names.
var meters = sync.OnceValue(func() instruments {
	m := otel.Meter("github.com/holdfast-dev/holdfast/pkg/idempotency")
	var i instruments
	i.requests, _ = m.Int64Counter("holdfast_idempotency_requests",
		metric.WithDescription("Keyed requests by what the key decided."))
	i.missingPartitions, _ = m.Int64Counter("holdfast_idempotency_missing_partitions",
		metric.WithDescription("Keys refused for want of a partition inside the window. Alert: maintenance does not run."))
	i.takeovers, _ = m.Int64Counter("holdfast_idempotency_takeovers",
		metric.WithDescription("Undecided keys that the completer took over, by result."))
	i.undecided, _ = m.Int64Gauge("holdfast_idempotency_undecided",
		metric.WithDescription("Keys whose effect is not decided yet."))
	i.undecidedAge, _ = m.Float64Gauge("holdfast_idempotency_undecided_age_seconds",
		metric.WithDescription("Age of the oldest undecided key."))
	i.partitions, _ = m.Int64Gauge("holdfast_idempotency_days_ahead",
		metric.WithDescription("Days from now that have a partition. Alert below 1."))
	return i
})

// labels keeps one attribute set for each method and outcome, of which there
// are few, so that counting does not allocate.
var labels sync.Map

type label struct{ method, outcome string }

func count(ctx context.Context, method, outcome string) {
	l := label{method, outcome}
	option, ok := labels.Load(l)
	if !ok {
		set := attribute.NewSet(attribute.String("method", method), attribute.String("outcome", outcome))
		option, _ = labels.LoadOrStore(l, []metric.AddOption{metric.WithAttributeSet(set)})
	}
	meters().requests.Add(ctx, 1, option.([]metric.AddOption)...)
}
