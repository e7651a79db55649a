package service

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// drainMeter tells how drains go:
//
//	holdfast_drains_total{forced}    times the process left traffic
//	holdfast_drain_spent_ratio       how much of the time that it may take a drain
//	                                 has taken; 0 while there is none
//
// A process that was told to stop is gone a moment after it has counted its
// drain, mostly before anybody scrapes it again. The ratio is there to be seen
// before that: a drain whose time runs out is about to be forced.
type drainMeter struct {
	drains metric.Int64Counter

	mu     sync.Mutex
	began  time.Time // zero while there is no drain
	budget time.Duration
}

// newDrainMeter makes the instruments, which cannot fail with these names.
func newDrainMeter(ctx context.Context) *drainMeter {
	m := &drainMeter{}
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/service")
	m.drains, _ = meter.Int64Counter("holdfast_drains",
		metric.WithDescription("Times the process left traffic; forced drains cut requests off."))
	for _, forced := range []bool{false, true} { // an increase needs a beginning
		m.drains.Add(ctx, 0, metric.WithAttributes(attribute.Bool("forced", forced)))
	}
	_, err := meter.Float64ObservableGauge("holdfast_drain_spent_ratio",
		metric.WithDescription("How much of the time that it may take a drain has taken."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(m.spent())
			return nil
		}))
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
	}
	return m
}

// begin says that a drain begins, and how long it may take.
func (m *drainMeter) begin(budget time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began, m.budget = time.Now(), budget
}

// end says that the drain has ended, and how.
func (m *drainMeter) end(ctx context.Context, forced bool) {
	m.mu.Lock()
	m.began = time.Time{}
	m.mu.Unlock()
	m.drains.Add(ctx, 1, metric.WithAttributes(attribute.Bool("forced", forced)))
}

func (m *drainMeter) spent() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began.IsZero() {
		return 0
	}
	return time.Since(m.began).Seconds() / m.budget.Seconds()
}
