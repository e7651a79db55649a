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
//	holdfast_alive                       1 unless a heart is silent, as /livez says
//	holdfast_state{state}                1 for the state it is in, 0 for the others
//	holdfast_dependency_up{dependency}   1 while it answers
func (h *Health) measure() (stop func() error) {
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/health")
	ready, _ := meter.Int64ObservableGauge("holdfast_ready", metric.WithDescription("1 while the process should get traffic."))
	alive, _ := meter.Int64ObservableGauge("holdfast_alive", metric.WithDescription("1 unless a loop of the process is stuck."))
	state, _ := meter.Int64ObservableGauge("holdfast_state", metric.WithDescription("1 for the state that the process is in."))
	up, _ := meter.Int64ObservableGauge("holdfast_dependency_up", metric.WithDescription("1 while the dependency answers."))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		o.ObserveInt64(ready, number(h.ready()))
		o.ObserveInt64(alive, number(len(h.stuck()) == 0))
		for _, name := range []string{"starting", "ready", "draining"} {
			o.ObserveInt64(state, number(h.state() == name), metric.WithAttributes(attribute.String("state", name)))
		}
		for name, d := range h.dependencies {
			o.ObserveInt64(up, number(d.up(h.now())), metric.WithAttributes(attribute.String("dependency", name)))
		}
		return nil
	}, ready, alive, state, up)
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
