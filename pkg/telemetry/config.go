package telemetry

import (
	"fmt"
	"io"
	"log/slog"
)

// Config is what an operator may set, and what the program tells about itself.
type Config struct {
	LogLevel   slog.Level `env:"HOLDFAST_LOG_LEVEL" envDefault:"info" doc:"least severe log lines written: debug, info, warn or error"`
	TraceRatio float64    `env:"HOLDFAST_TRACE_RATIO" envDefault:"1" doc:"fraction of traces that start here and are exported; a caller's decision is followed"`
	// Endpoint has the name that OpenTelemetry gave it; the exporter reads the
	// other OTEL_ variables itself.
	Endpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" doc:"where traces go by OTLP over gRPC; without it none are exported"`

	// Service, Version and Commit are on every log line, span and metric.
	Service, Version, Commit string
	// Output is where log lines go; standard error if nil.
	Output io.Writer
}

// Validate reports what could not work.
func (c Config) Validate() error {
	if c.TraceRatio < 0 || c.TraceRatio > 1 {
		return fmt.Errorf("HOLDFAST_TRACE_RATIO is %v, must be from 0 to 1", c.TraceRatio)
	}
	return nil
}
