package telemetry

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc/stats"
)

// Server returns what traces and measures the calls of a gRPC server whose
// method measured accepts. It must accept known methods only: a client could
// otherwise make a time series of every name it can think of.
func (t *Telemetry) Server(measured func(fullMethod string) bool) stats.Handler {
	return otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.TracerProvider),
		otelgrpc.WithMeterProvider(t.MeterProvider),
		otelgrpc.WithFilter(func(info *stats.RPCTagInfo) bool {
			return measured(info.FullMethodName)
		}),
	)
}
