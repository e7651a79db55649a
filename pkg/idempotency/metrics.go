package idempotency

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

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
	partitionsUntil   metric.Int64Gauge
	maintained        metric.Int64Gauge
	// left is what the last sweep found undecided.
	left atomic.Pointer[backlog]
}

// backlog is what one sweep left undecided.
type backlog struct {
	keys   int64
	oldest float64 // seconds
	at     time.Time
}

// backlogHolds is for how long a measured backlog is told. A replica whose
// completer has stopped, as that of an idle colour, would otherwise repeat its
// last one for ever, and an alert with it.
const backlogHolds = time.Minute

// meters makes the instruments when they are first used, after telemetry has
// set the meter provider.
var meters = sync.OnceValue(func() *instruments {
	return newInstruments(otel.Meter("github.com/holdfast-dev/holdfast/pkg/idempotency"))
})

// newInstruments makes the instruments, which cannot fail with these names.
//
// What maintenance tells are times, not ages: only the replica that ran it
// knows, and a time that it has told stays true however long ago that was.
func newInstruments(m metric.Meter) *instruments {
	i := &instruments{}
	i.requests, _ = m.Int64Counter("holdfast_idempotency_requests",
		metric.WithDescription("Keyed requests by what the key decided."))
	i.missingPartitions, _ = m.Int64Counter("holdfast_idempotency_missing_partitions",
		metric.WithDescription("Keys refused for want of a partition inside the window. Alert: maintenance does not run."))
	i.missingPartitions.Add(context.Background(), 0) // a rate needs a beginning; no request is behind it
	i.takeovers, _ = m.Int64Counter("holdfast_idempotency_takeovers",
		metric.WithDescription("Undecided keys that the completer took over, by result."))
	i.partitionsUntil, _ = m.Int64Gauge("holdfast_idempotency_partitions_until_timestamp_seconds",
		metric.WithDescription("Until when every day has a partition. Alert below a day from now."))
	i.maintained, _ = m.Int64Gauge("holdfast_idempotency_maintained_timestamp_seconds",
		metric.WithDescription("When maintenance last succeeded on this replica."))

	keys, _ := m.Int64ObservableGauge("holdfast_idempotency_undecided",
		metric.WithDescription("Keys whose effect is not decided yet."))
	oldest, _ := m.Float64ObservableGauge("holdfast_idempotency_undecided_age_seconds",
		metric.WithDescription("Age of the oldest undecided key."))
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if left := i.left.Load(); left != nil && time.Since(left.at) < backlogHolds {
			o.ObserveInt64(keys, left.keys)
			o.ObserveFloat64(oldest, left.oldest)
		}
		return nil
	}, keys, oldest)
	if err != nil {
		otel.Handle(err)
	}
	return i
}

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
