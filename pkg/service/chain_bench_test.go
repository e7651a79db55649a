package service

import (
	"context"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/telemetry"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// trivial answers without doing anything, so that what is around it shows.
type trivial struct {
	ordersv1.UnimplementedOrdersServiceServer
}

var trivialAnswer = &ordersv1.GetOrderResponse{Order: &ordersv1.Order{Id: orderFine}}

func (trivial) GetOrder(context.Context, *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	return trivialAnswer, nil
}

// BenchmarkChain measures what the platform adds to a trivial unary RPC: the
// same handler behind everything a service has (errors, telemetry, deadline,
// credentials, limits, idempotency, validation), and on a bare grpc-go server. A third
// server is bare but for telemetry, which is OpenTelemetry's own handler and
// nearly half of what is added. Calls alternate between the three in blocks, so
// that whatever else the machine does hits all. Figures are for one call:
//
//	added-cpu-ns   CPU time of the process, client and server together
//	of-which-otel  CPU time that telemetry alone adds to bare
//	added-ns       time a client waits
//	added-allocs   allocations, client and server together
//	cpu-ratio      CPU time against bare
func BenchmarkChain(b *testing.B) {
	bare := caller(b, serveBare(b))
	traced := caller(b, serveBare(b, grpc.StatsHandler(newStatsHandler(b))))
	chained := caller(b, serveChained(b))
	for range 2000 { // connections, pools and caches
		bare(b)
		traced(b)
		chained(b)
	}
	const block = 250
	var without, telemetryOnly, with cost
	b.ResetTimer()
	for n := 0; n < b.N; n += block {
		without.measure(b, bare, block)
		telemetryOnly.measure(b, traced, block)
		with.measure(b, chained, block)
	}
	b.StopTimer()
	b.ReportMetric(without.perCall(without.cpu), "bare-cpu-ns/call")
	b.ReportMetric(with.perCall(with.cpu)-without.perCall(without.cpu), "added-cpu-ns/call")
	b.ReportMetric(telemetryOnly.perCall(telemetryOnly.cpu)-without.perCall(without.cpu), "of-which-otel-ns/call")
	b.ReportMetric(with.perCall(with.wall)-without.perCall(without.wall), "added-ns/call")
	b.ReportMetric(with.ofEach(with.allocs)-without.ofEach(without.allocs), "added-allocs/call")
	b.ReportMetric(telemetryOnly.ofEach(telemetryOnly.allocs)-without.ofEach(without.allocs), "of-which-otel-allocs/call")
	b.ReportMetric(with.perCall(with.cpu)/without.perCall(without.cpu), "cpu-ratio")
}

// cost is what calls have cost so far.
type cost struct {
	calls     int
	wall, cpu time.Duration
	allocs    uint64
}

func (c *cost) perCall(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(c.calls) }

func (c *cost) ofEach(n uint64) float64 { return float64(n) / float64(c.calls) }

func (c *cost) measure(b *testing.B, call func(*testing.B), times int) {
	allocs, cpu, began := mallocs(), cpuTime(b), time.Now()
	for range times {
		call(b)
	}
	c.wall += time.Since(began)
	c.cpu += cpuTime(b) - cpu
	c.allocs += mallocs() - allocs
	c.calls += times
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// caller returns one call, with credentials, whoever looks at them.
func caller(b *testing.B, address string) func(*testing.B) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(auth.PerRPC(auth.DevelopmentKey)))
	require.NoError(b, err)
	b.Cleanup(func() { conn.Close() })
	client := ordersv1.NewOrdersServiceClient(conn)
	request := &ordersv1.GetOrderRequest{Id: orderFine}
	return func(b *testing.B) {
		if _, err := client.GetOrder(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

// newStatsHandler is the telemetry that every service has.
func newStatsHandler(b *testing.B) stats.Handler {
	t, err := telemetry.New(b.Context(), telemetry.Config{Service: "trivial", Output: io.Discard})
	require.NoError(b, err)
	return t.Server(func(string) bool { return true })
}

func serveBare(b *testing.B, options ...grpc.ServerOption) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := grpc.NewServer(options...)
	ordersv1.RegisterOrdersServiceServer(server, trivial{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	b.Cleanup(func() {
		server.Stop()
		require.NoError(b, <-done)
	})
	return listener.Addr().String()
}

// noLimitReached turns the limits up: what they cost is measured, and not what
// they refuse.
var noLimitReached = []string{
	"HOLDFAST_RATE_ADDRESS", "1e9", "HOLDFAST_RATE_ADDRESS_BURST", "1000000000",
	"HOLDFAST_RATE_TENANT_READS", "1e9", "HOLDFAST_RATE_TENANT_READS_BURST", "1000000000",
}

func serveChained(b *testing.B) string {
	def := Definition{Name: "trivial", Module: fx.Module("trivial",
		fx.Provide(newUnusedStore),
		ProvideAPI(func() API {
			return API{Register: func(r grpc.ServiceRegistrar) { ordersv1.RegisterOrdersServiceServer(r, trivial{}) }}
		}),
	)}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan Addresses, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, def, nil, io.Discard, WithEnvironment(environment(noLimitReached...)), WithLogs(io.Discard),
			WithReady(func(a Addresses) { ready <- a }))
	}()
	b.Cleanup(func() {
		stop()
		require.NoError(b, <-done)
	})
	select {
	case a := <-ready:
		return a.GRPC
	case err := <-done:
		done <- err
		b.Fatal(err)
		return ""
	}
}
