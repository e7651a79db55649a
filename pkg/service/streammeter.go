package service

import (
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// streamMeter counts streams, which the measures of calls leave out: how long one
// lasts says nothing of how fast the service is, and one that ends with a drain
// was not failed.
//
//	holdfast_streams_open{rpc_method}             streams that are open
//	holdfast_streams_ended_total{rpc_method,reason}
//	                                              streams that ended, and why;
//	                                              COMPLETE if it was no error
type streamMeter struct {
	open  metric.Int64UpDownCounter
	ended metric.Int64Counter
}

// newStreamMeter makes the instruments, which cannot fail with these names.
func newStreamMeter() *streamMeter {
	m := &streamMeter{}
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/service")
	m.open, _ = meter.Int64UpDownCounter("holdfast_streams_open", metric.WithDescription("Streams that are open."))
	m.ended, _ = meter.Int64Counter("holdfast_streams_ended", metric.WithDescription("Streams that ended, by the reason they ended with."))
	return m
}

// count is an interceptor. It belongs outside of what types errors.
func (c chain) count(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if m, known := c.policies.Lookup(info.FullMethod); !known || !m.Streaming { // a route may be of a call
		return handler(srv, stream)
	}
	method := attribute.String("rpc_method", strings.TrimPrefix(info.FullMethod, "/"))
	c.streams.open.Add(stream.Context(), 1, metric.WithAttributes(method))
	defer c.streams.open.Add(stream.Context(), -1, metric.WithAttributes(method))
	err := handler(srv, stream)
	why := "COMPLETE"
	if reason, typed := apierror.ReasonOf(err); typed {
		why = string(reason)
	}
	c.streams.ended.Add(stream.Context(), 1, metric.WithAttributes(method, attribute.String("reason", why)))
	return err
}
