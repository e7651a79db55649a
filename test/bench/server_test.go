package bench

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeromicro/go-zero/core/prometheus"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
	"github.com/holdfast-dev/holdfast/pkg/telemetry"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// BenchmarkServer measures what a server adds to a trivial unary call, over
// loopback TCP and with the same client: CPU time and allocations of both
// together. The handler is the same behind
//
//	bare             grpc-go and nothing else: what the others add to
//	otel             bare, and the OpenTelemetry handler that ours has: which part
//	                 of ours is telemetry
//	ours             everything that a service has: typed errors, telemetry,
//	                 deadline, limits by address and tenant, authentication, load
//	                 shedding, idempotency, validation; see pkg/service/chain.go
//	go-zero          its server as its configuration makes it; see gozero_test.go
//	kratos           the middleware that kratos has for a server; see
//	                 kratos_test.go for what is left out
//	kratos-template  the one middleware that a new kratos project has
//
// What is compared is not the same: of the others none asks for a credential,
// none limits rates by who calls, none tells what is left of a limit, and only
// kratos checks the message. Telemetry is alike: all of ours, go-zero and kratos
// find a trace's parent, begin a span that is not sampled, as without a collector,
// and count and time calls by method and code. None exports traces, or logs calls.
func BenchmarkServer(b *testing.B) {
	var subjects []*subject
	for _, s := range servers {
		subjects = append(subjects, calls(s.name, dial(b, s.serve(b), withKey)))
	}
	sampleNothing(b)
	compare(b, 250, subjects...)
}

// servers are what BenchmarkServer compares, each with what it does for a call:
// TestWhatEachServerDoes holds that to be true.
var servers = []struct {
	name  string
	serve func(testing.TB) (address string)
	does  duties
}{
	{"bare", func(tb testing.TB) string { return serveBare(tb) }, duties{}},
	{"otel", serveTraced, duties{traces: true}},
	{ours, serveOurs, duties{traces: true, limitsTime: true, authenticates: true, validates: true, tellsLimits: true}},
	{"go-zero", serveGoZero, duties{traces: true, limitsTime: true}},
	{"kratos", serveKratos, duties{traces: true, limitsTime: true, validates: true}},
	{"kratos-template", serveKratosTemplate, duties{limitsTime: true}},
}

// duties are those that a caller or a handler can see.
type duties struct{ traces, limitsTime, authenticates, validates, tellsLimits bool }

func TestWhatEachServerDoes(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			address := s.serve(t)
			sampleNothing(t)
			known, unknown := ordersv1.NewOrdersServiceClient(dial(t, address, withKey)), ordersv1.NewOrdersServiceClient(dial(t, address))
			var does duties
			tell := func(ctx context.Context) {
				span := trace.SpanContextFromContext(ctx)
				require.False(t, span.IsSampled())
				does.traces = span.IsValid()
				_, does.limitsTime = ctx.Deadline()
			}
			witness.Store(&tell)
			defer witness.Store(nil)
			var trailer metadata.MD
			_, err := known.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderID}, grpc.Trailer(&trailer))
			require.NoError(t, err)
			does.tellsLimits = len(trailer.Get(ratelimit.StateMetadata)) > 0
			_, err = unknown.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderID})
			does.authenticates = status.Code(err) == codes.Unauthenticated
			_, err = known.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: "no id"})
			does.validates = status.Code(err) == codes.InvalidArgument
			require.Equal(t, s.does, does)
		})
	}
	require.True(t, prometheus.Enabled(), "go-zero measures nothing")
}

// sampleNothing makes the process one that has no collector. go-zero would sample
// every trace, even with nowhere to send it, and what one server makes the
// process's own is every other one's, too.
func sampleNothing(tb testing.TB) { otel.SetTracerProvider(neverSampled(tb)) }

// withKey shows a credential with every call, whoever looks at it.
var withKey = grpc.WithPerRPCCredentials(auth.PerRPC(auth.DevelopmentKey))

// calls is the call that all servers get.
func calls(name string, conn *grpc.ClientConn) *subject {
	client, request := ordersv1.NewOrdersServiceClient(conn), &ordersv1.GetOrderRequest{Id: orderID}
	return &subject{name: name, call: func(ctx context.Context) error {
		_, err := client.GetOrder(ctx, request)
		return err
	}}
}

const (
	orderID   = "0192d3c0-0000-7000-8000-000000000001"
	paymentID = "0192d3c0-0000-7000-8000-000000000002"
)

// trivial answers without doing anything, so that what is around it shows.
type trivial struct {
	ordersv1.UnimplementedOrdersServiceServer
	paymentsv1.UnimplementedPaymentsServiceServer
}

var (
	order   = &ordersv1.GetOrderResponse{Order: &ordersv1.Order{Id: orderID}}
	payment = &paymentsv1.GetPaymentResponse{Payment: &paymentsv1.Payment{Id: paymentID}}
)

// witness is told the context of each order's handler, if there is one.
var witness atomic.Pointer[func(context.Context)]

func (trivial) GetOrder(ctx context.Context, _ *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	if tell := witness.Load(); tell != nil {
		(*tell)(ctx)
	}
	return order, nil
}

func (trivial) GetPayment(context.Context, *paymentsv1.GetPaymentRequest) (*paymentsv1.GetPaymentResponse, error) {
	return payment, nil
}

func serveBare(tb testing.TB, options ...grpc.ServerOption) (address string) {
	tb.Helper()
	listener := listen(tb)
	server := grpc.NewServer(options...)
	ordersv1.RegisterOrdersServiceServer(server, trivial{})
	paymentsv1.RegisterPaymentsServiceServer(server, trivial{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	tb.Cleanup(func() {
		server.Stop()
		require.NoError(tb, <-done)
	})
	return listener.Addr().String()
}

// serveTraced is bare, and has the telemetry of every service.
func serveTraced(tb testing.TB) (address string) {
	tb.Helper()
	return serveBare(tb, grpc.StatsHandler(newTelemetry(tb).Server(func(string) bool { return true })))
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	return listener
}

// newTelemetry is what every service has, and makes it the process's own.
func newTelemetry(tb testing.TB) *telemetry.Telemetry {
	tb.Helper()
	t, err := telemetry.New(tb.Context(), telemetry.Config{Service: "trivial", Output: io.Discard})
	require.NoError(tb, err)
	// The context of tb has ended when it is cleaned up, here and below.
	tb.Cleanup(func() { require.NoError(tb, t.Shutdown(context.Background())) })
	return t
}

// neverSampled makes spans as a process does that has no collector.
func neverSampled(tb testing.TB) *sdktrace.TracerProvider {
	tb.Helper()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	tb.Cleanup(func() { require.NoError(tb, provider.Shutdown(context.Background())) })
	return provider
}
