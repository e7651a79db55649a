package telemetry

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/trace"
)

// newLogger returns the process's logger. Lines logged with a context carry its
// trace_id and span_id.
func newLogger(cfg Config) *slog.Logger {
	output := cmp.Or[io.Writer](cfg.Output, os.Stderr)
	handler := slog.NewJSONHandler(output, &slog.HandlerOptions{Level: cfg.LogLevel})
	return slog.New(traced{handler}).With("service", cfg.Service, "version", cfg.Version)
}

// traced adds the ids of the trace that a line belongs to.
type traced struct{ slog.Handler }

// Handle writes the record with the ids.
func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(
			slog.String("trace_id", span.TraceID().String()),
			slog.String("span_id", span.SpanID().String()),
		)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the ids on loggers made from this one.
func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

// WithGroup keeps the ids on loggers made from this one.
func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
