// Package telemetry is how a process tells what it does: structured logs that
// carry trace ids, OpenTelemetry traces, and metrics for Prometheus to scrape.
//
// It sets OpenTelemetry's globals, so a package makes its instruments with
//
//	otel.Meter("github.com/holdfast-dev/holdfast/pkg/x")
//
// whenever it likes and knows nothing of this one. Names of our own metrics
// begin with holdfast_.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry is the instruments of one process.
type Telemetry struct {
	// Logger writes JSON lines with the service, its version and, for a context
	// that has one, the trace.
	Logger *slog.Logger
	// TracerProvider and MeterProvider are also OpenTelemetry's globals.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Metrics answers a Prometheus scrape.
	Metrics http.Handler

	stop []func(context.Context) error
}

// New starts the instruments and makes them the process's own. Without an
// endpoint no traces are exported, but ids still go through logs and calls.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	t := &Telemetry{Logger: newLogger(cfg)}
	about := resource.NewSchemaless(
		attribute.String("service.name", cfg.Service),
		attribute.String("service.version", cfg.Version),
	)
	if err := t.startTraces(ctx, cfg, about); err != nil {
		return nil, err
	}
	if err := t.startMetrics(cfg, about); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	otel.SetTracerProvider(t.TracerProvider)
	otel.SetMeterProvider(t.MeterProvider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	// A collector that is away is news, but never a reason to fail.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Logger.Warn("telemetry", "error", err) }))
	return t, nil
}

func (t *Telemetry) startTraces(ctx context.Context, cfg Config, about *resource.Resource) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	if cfg.Endpoint == "" {
		options = append(options, sdktrace.WithSampler(sdktrace.NeverSample()))
	} else {
		exporter, err := otlptracegrpc.New(ctx) // reads OTEL_EXPORTER_OTLP_*; connects in the background
		if err != nil {
			return fmt.Errorf("preparing the export of traces to %s: %w", cfg.Endpoint, err)
		}
		options = append(options,
			sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.TraceRatio))),
			sdktrace.WithBatcher(exporter))
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.TracerProvider = provider
	t.stop = append(t.stop, provider.Shutdown)
	return nil
}

func (t *Telemetry) startMetrics(cfg Config, about *resource.Resource) error {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "holdfast_build_info",
		Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{
			"service": cfg.Service, "version": cfg.Version, "commit": cfg.Commit, "go": runtime.Version(),
		},
	})
	info.Set(1)
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// target_info and scope labels repeat on every scrape what build_info says.
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutTargetInfo(), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("preparing the Prometheus exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(about),
		sdkmetric.WithExemplarFilter(noExemplars))
	t.MeterProvider = provider
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
	t.stop = append(t.stop, provider.Shutdown)
	return nil
}

// noExemplars saves looking at the trace of every measurement: without
// exporting traces there is nothing for an exemplar to point at.
func noExemplars(context.Context) bool { return false }

// Shutdown sends what is still held back and ends all exporting. Give it a
// context of its own: the one that ends the process has ended.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var problems []error
	for _, stop := range t.stop {
		problems = append(problems, stop(ctx))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("flushing telemetry: %w", err)
	}
	return nil
}
