package ratelimit

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// measure publishes what the limits decided, and returns how to stop:
//
//	holdfast_ratelimit_requests_total{limit, outcome}
//	    limit    address, failed_auth or tenant
//	    outcome  allowed or refused. For failed_auth, allowed are the failed
//	             authentications that were answered as such, and refused the
//	             calls whose credential was not looked at
//
// What is counted is read when somebody asks: a request pays for an atomic
// addition and no more.
func (l *Limits) measure() (stop func() error) {
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/ratelimit")
	requests, _ := meter.Int64ObservableCounter("holdfast_ratelimit_requests",
		metric.WithDescription("Requests by the limit that decided on them, and how. Failed authentication: failures, and calls not looked at."))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i, c := range []*count{&l.counts.address, &l.counts.failedAuth, &l.counts.tenant} {
			o.ObserveInt64(requests, c.allowed.Load(), labels[i].allowed)
			o.ObserveInt64(requests, c.refused.Load(), labels[i].refused)
		}
		return nil
	}, requests)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return func() error { return nil }
	}
	return registration.Unregister
}

// labels are the attributes of the three counts, in their order.
var labels = [...]struct{ allowed, refused metric.ObserveOption }{
	labelled("address"), labelled("failed_auth"), labelled("tenant"),
}

func labelled(limit string) struct{ allowed, refused metric.ObserveOption } {
	of := func(outcome string) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("limit", limit), attribute.String("outcome", outcome)))
	}
	return struct{ allowed, refused metric.ObserveOption }{of("allowed"), of("refused")}
}
