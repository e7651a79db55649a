package llmgateway

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
)

// meter counts what requests come to, beside what packages dispatch and ledger count:
//
//	holdfast_llm_requests_total{route,protocol,outcome}   ok, interrupted, or the reason of the error
//	holdfast_llm_cost_dollars_USD_total{route,provider,model} what was settled
//	holdfast_llm_client_retries_total{route}              requests that an SDK says are its second or later
//	holdfast_llm_lowered_total{route}                     answers bounded so that they fit a budget
//	holdfast_llm_open_streams                             streams that clients read now
//	holdfast_llm_file_failing{file}                       1 while a file is wrong and the old one holds
//
// Routes, providers and models are those of the file, so that there are few.
type meter struct {
	requests, retries, lowered metric.Int64Counter
	cost                       metric.Float64Counter
	streams                    atomic.Int64
	stop                       func() error

	// What is measured of a request again and again has labels that were made
	// before: by route, provider and model, and by route, protocol and outcome.
	targets, outcomes labels
}

// labels are sets of three, made once each: making one costs more than counting.
type labels struct {
	names [3]attribute.Key
	made  sync.Map // of [3]string to metric.MeasurementOption
}

func (l *labels) of(values ...string) metric.MeasurementOption {
	key := [3]string(values)
	if found, ok := l.made.Load(key); ok {
		return found.(metric.MeasurementOption)
	}
	set := metric.WithAttributeSet(attribute.NewSet(l.names[0].String(key[0]), l.names[1].String(key[1]), l.names[2].String(key[2])))
	l.made.Store(key, set)
	return set
}

// retryCount is where the SDKs of both providers say how often they have sent a
// request before.
const retryCount = "X-Stainless-Retry-Count"

func newMeter(g *gateway) *meter {
	about := otel.Meter("github.com/holdfast-dev/holdfast/services/llm-gateway")
	m := &meter{stop: func() error { return nil }}
	m.targets.names = [3]attribute.Key{"route", "provider", "model"}
	m.outcomes.names = [3]attribute.Key{"route", "protocol", "outcome"}
	m.requests, _ = about.Int64Counter("holdfast_llm_requests", metric.WithDescription("Requests by how they ended."))
	m.retries, _ = about.Int64Counter("holdfast_llm_client_retries", metric.WithDescription("Requests that a client's SDK had sent before."))
	m.lowered, _ = about.Int64Counter("holdfast_llm_lowered", metric.WithDescription("Answers whose tokens were bounded so that they fit a budget."))
	m.cost, _ = about.Float64Counter("holdfast_llm_cost_dollars", metric.WithUnit("USD"), metric.WithDescription("What answers cost, when it was settled."))
	streams, _ := about.Int64ObservableGauge("holdfast_llm_open_streams", metric.WithDescription("Streams that clients read now."))
	failing, _ := about.Int64ObservableGauge("holdfast_llm_file_failing", metric.WithDescription("1 while a file cannot be used, and the one before holds."))
	registration, err := about.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(streams, m.streams.Load())
		for name, wrong := range map[string]bool{"routes": g.routes.Status().Why != nil, "prices": g.prices.Status().Why != nil} {
			var is int64
			if wrong {
				is = 1
			}
			o.ObserveInt64(failing, is, metric.WithAttributes(attribute.String("file", name)))
		}
		return nil
	}, streams, failing)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return m
	}
	m.stop = registration.Unregister
	return m
}

func (m *meter) asked(ctx context.Context, a *ask) {
	if n := a.header.Get(retryCount); n != "" && n != "0" {
		m.retries.Add(ctx, 1, metric.WithAttributes(attribute.String("route", a.route.Name)))
	}
}

func (m *meter) failed(ctx context.Context, a *ask, err error) {
	outcome := "replayed"
	if _, replay := before(err); !replay {
		outcome = string(apierror.From(typed(err)).Reason())
	}
	m.ended(ctx, a, outcome)
}

func (m *meter) answered(ctx context.Context, x *exchange, o dispatch.Outcome) {
	outcome := "ok"
	if o.Reason != dispatch.OK {
		outcome = "interrupted"
	}
	m.ended(ctx, x.ask, outcome)
	if x.lowered > 0 {
		m.lowered.Add(ctx, 1, metric.WithAttributes(attribute.String("route", x.ask.route.Name)))
	}
	m.cost.Add(ctx, float64(x.cost)/1e9, m.targets.of(x.ask.route.Name, x.Attempt.Provider, x.Attempt.Model))
}

func (m *meter) ended(ctx context.Context, a *ask, outcome string) {
	m.requests.Add(ctx, 1, m.outcomes.of(a.route.Name, a.wire.Protocol.String(), outcome))
}
