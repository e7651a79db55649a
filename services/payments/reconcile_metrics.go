package payments

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type reconcileInstruments struct {
	compared metric.Int64Counter
	findings metric.Int64Counter
	// now is what this replica saw last.
	now atomic.Pointer[standing]
}

// standingHolds is for how long what was seen is told. A replica that has
// stopped looking would otherwise repeat it for ever, and an alert with it.
const standingHolds = 2 * time.Minute

// reconcileMeters makes the instruments when they are first used, after
// telemetry has set the meter provider. They cannot fail with these names.
var reconcileMeters = sync.OnceValue(func() *reconcileInstruments {
	m := otel.Meter("github.com/holdfast-dev/holdfast/services/payments")
	i := &reconcileInstruments{}
	i.compared, _ = m.Int64Counter("holdfast_reconciliation_compared",
		metric.WithDescription("What was compared: operations of the processor, and entries of ours."))
	i.findings, _ = m.Int64Counter("holdfast_reconciliation_findings",
		metric.WithDescription("Findings by what happened to them: raised, healed or resolved."))
	for _, kind := range findingKinds { // a rate needs a beginning; no finding is behind it
		for _, event := range []string{eventRaised, string(FindingHealed), string(FindingResolved)} {
			i.findings.Add(context.Background(), 0, findingLabels(event, kind)) // of no request
		}
	}
	open, _ := m.Int64ObservableGauge("holdfast_reconciliation_open_findings",
		metric.WithDescription("Differences between our books and the processor's that wait for a person."))
	complete, _ := m.Int64ObservableGauge("holdfast_reconciliation_completed_timestamp_seconds",
		metric.WithDescription("When our books were last compared with the processor's; 0 if they never were."))
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := i.now.Load()
		if now == nil || time.Since(now.At) > standingHolds {
			return nil
		}
		for _, kind := range findingKinds {
			o.ObserveInt64(open, now.Open[kind], metric.WithAttributes(attribute.String("kind", string(kind))))
		}
		o.ObserveInt64(complete, max(now.Complete.Unix(), 0))
		return nil
	}, open, complete)
	if err != nil {
		otel.Handle(err)
	}
	return i
})

// measure looks at what is open, for metrics. All replicas tell the same.
func (r *reconciler) measure(ctx context.Context) {
	now, err := r.runs.standing(ctx)
	if err != nil {
		return // the next look measures again
	}
	reconcileMeters().now.Store(now)
}

func countCompared(ctx context.Context, done step) {
	m := reconcileMeters().compared
	m.Add(ctx, done.Records, metric.WithAttributes(attribute.String("side", "processor")))
	m.Add(ctx, done.Entries, metric.WithAttributes(attribute.String("side", "payments")))
}

func countFindings(ctx context.Context, raised []Finding, closings []closing) {
	m := reconcileMeters().findings
	for _, f := range raised {
		m.Add(ctx, 1, findingLabels(eventRaised, f.Kind))
	}
	for _, c := range closings {
		m.Add(ctx, 1, findingLabels(string(c.State), c.Kind))
	}
}

// eventRaised is the first event of a finding; the others are its later states.
const eventRaised = "raised"

func findingLabels(event string, kind FindingKind) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("event", event), attribute.String("kind", string(kind)))
}
