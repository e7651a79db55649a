package ledger

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type instruments struct {
	reserved   metric.Int64Counter
	overruns   metric.Int64Counter
	fenced     metric.Int64Counter
	unkept     metric.Int64Counter
	reconciled metric.Int64Counter
	// now is what the last round of the reconciler left unknown.
	now atomic.Pointer[standing]
}

// standing is what one look saw, and when.
type standing struct {
	UnknownSum
	at time.Time
}

// standingHolds is for how long what was seen is told. A replica whose
// reconciler has stopped would otherwise repeat it for ever, and an alert with
// it.
const standingHolds = time.Minute

// meters makes the instruments when they are first used, after telemetry has set
// the meter provider. They cannot fail with these names.
var meters = sync.OnceValue(func() *instruments {
	m := otel.Meter("github.com/holdfast-dev/holdfast/services/llm-gateway/ledger")
	i := &instruments{}
	i.reserved, _ = m.Int64Counter("holdfast_llm_reservations",
		metric.WithDescription("Reservations by how they went: held, over_budget, replayed, in_flight, key_reused, interrupted or error."))
	i.overruns, _ = m.Int64Counter("holdfast_llm_overruns",
		metric.WithDescription("Attempts for which a provider billed more than the worst case that was reserved."))
	i.fenced, _ = m.Int64Counter("holdfast_llm_fenced",
		metric.WithDescription("Writes of owners whose attempt had been taken over."))
	i.unkept, _ = m.Int64Counter("holdfast_llm_answers_not_kept",
		metric.WithDescription("Answers that were too large to be kept for repetition."))
	i.reconciled, _ = m.Int64Counter("holdfast_llm_reconciled",
		metric.WithDescription("Lookups of unknown attempts by verdict: found, never_happened, not_yet, nobody_knows or error."))
	count, _ := m.Int64ObservableGauge("holdfast_llm_unknown_attempts",
		metric.WithDescription("Attempts of which nobody knows yet whether they were billed."))
	reserved, _ := m.Float64ObservableGauge("holdfast_llm_unknown_dollars", metric.WithUnit("USD"),
		metric.WithDescription("What unknown attempts keep reserved."))
	oldest, _ := m.Float64ObservableGauge("holdfast_llm_unknown_oldest_seconds", metric.WithUnit("s"),
		metric.WithDescription("Since when the oldest unknown attempt is unknown."))
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := i.now.Load()
		if now == nil || time.Since(now.at) > standingHolds {
			return nil
		}
		o.ObserveInt64(count, now.Count)
		o.ObserveFloat64(reserved, float64(now.Reserved)/1e9)
		o.ObserveFloat64(oldest, now.Oldest.Seconds())
		return nil
	}, count, reserved, oldest)
	if err != nil {
		otel.Handle(err)
	}
	return i
})

var (
	labelHeld       = label("outcome", "held")
	labelOverBudget = label("outcome", "over_budget")
	labelReplayed   = label("outcome", "replayed")
	labelInFlight   = label("outcome", "in_flight")
	labelReused     = label("outcome", "key_reused")
	labelCut        = label("outcome", "interrupted")
	labelError      = label("outcome", "error")
)

func label(key, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
}

func labelProvider(name string) metric.MeasurementOption { return label("provider", name) }

// labelKey is that of what a key that was taken said.
func labelKey(err error) metric.MeasurementOption {
	switch {
	case err == nil:
		return labelReplayed
	case errors.Is(err, ErrKeyReused):
		return labelReused
	case errors.Is(err, ErrInterrupted):
		return labelCut
	default:
		return labelInFlight
	}
}
