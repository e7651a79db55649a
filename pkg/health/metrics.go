package health

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// measure publishes what h knows, and returns how to stop:
//
//	holdfast_ready                       1 while the process should get traffic
//	holdfast_dependency_up{dependency}   1 while it answers
func (h *Health) measure() (stop func() error) {
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/health")
	ready, _ := meter.Int64ObservableGauge("holdfast_ready", metric.WithDescription("1 while the process should get traffic."))
	up, _ := meter.Int64ObservableGauge("holdfast_dependency_up", metric.WithDescription("1 while the dependency answers."))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		o.ObserveInt64(ready, number(h.ready()))
		for name, d := range h.dependencies {
			o.ObserveInt64(up, number(d.up(h.now())), metric.WithAttributes(attribute.String("dependency", name)))
		}
		return nil
	}, ready, up)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return func() error { return nil }
	}
	return registration.Unregister
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
