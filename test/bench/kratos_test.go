package bench

import (
	"context"
	"io"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/metrics"
	"github.com/go-kratos/kratos/v2/middleware/ratelimit"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/middleware/tracing"
	kratos "github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// serveKratos runs a server with the middleware that kratos has for one: recovery,
// traces, metrics, load shedding (which it calls a rate limit) and the rules of the
// proto. Left out are its log line for each call, which ours does not write
// either, its own kind of credentials, JSON Web Tokens, and the copying of
// metadata. The server adds a timeout of 1 s by itself.
func serveKratos(tb testing.TB) (address string) {
	tb.Helper()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()),
		sdkmetric.WithView(metrics.DefaultSecondsHistogramView(metrics.DefaultServerSecondsHistogramName)))
	// The context of tb has ended when it is cleaned up, here and below.
	tb.Cleanup(func() { require.NoError(tb, provider.Shutdown(context.Background())) })
	meter := provider.Meter("kratos")
	requests, err := metrics.DefaultRequestsCounter(meter, metrics.DefaultServerRequestsCounterName)
	require.NoError(tb, err)
	seconds, err := metrics.DefaultSecondsHistogram(meter, metrics.DefaultServerSecondsHistogramName)
	require.NoError(tb, err)
	return serveWith(tb,
		recovery.Recovery(),
		tracing.Server(tracing.WithTracerProvider(neverSampled(tb))),
		metrics.Server(metrics.WithRequests(requests), metrics.WithSeconds(seconds)),
		ratelimit.Server(),
		validated)
}

// serveKratosTemplate has what the template of new kratos projects has.
func serveKratosTemplate(tb testing.TB) (address string) {
	tb.Helper()
	return serveWith(tb, recovery.Recovery())
}

func serveWith(tb testing.TB, with ...middleware.Middleware) (address string) {
	tb.Helper()
	log.SetLogger(log.NewStdLogger(io.Discard))
	listener := listen(tb)
	server := kratos.NewServer(kratos.Listener(listener), kratos.Middleware(with...))
	ordersv1.RegisterOrdersServiceServer(server, trivial{})
	done := make(chan error, 1)
	go func() { done <- server.Start(context.Background()) }() // it is stopped, not cancelled
	tb.Cleanup(func() {
		require.NoError(tb, server.Stop(context.Background()))
		require.NoError(tb, <-done)
	})
	return listener.Addr().String()
}

// validated is kratos' own middleware for the rules of a proto in all that it does,
// but with this platform's protovalidate: kratos' is built on an older one, which
// does not compile beside it.
func validated(next middleware.Handler) middleware.Handler {
	return func(ctx context.Context, request any) (any, error) {
		if message, ok := request.(proto.Message); ok {
			if err := protovalidate.Validate(message); err != nil {
				return nil, errors.BadRequest("VALIDATOR", err.Error()).WithCause(err)
			}
		}
		return next(ctx, request)
	}
}
