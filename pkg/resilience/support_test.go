package resilience

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a dependency that answers as it is told: a read (GetPayment) and a
// write with a key (ChargePayment).
type peer struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	seen atomic.Int64
	// answer is asked with how many requests there were.
	answer func(ctx context.Context, n int64) error
}

func (p *peer) answers(ctx context.Context) error {
	n := p.seen.Add(1)
	if p.answer == nil {
		return nil
	}
	return p.answer(ctx, n)
}

func (p *peer) GetPayment(ctx context.Context, r *paymentsv1.GetPaymentRequest) (*paymentsv1.GetPaymentResponse, error) {
	if err := p.answers(ctx); err != nil {
		return nil, err
	}
	return &paymentsv1.GetPaymentResponse{Payment: &paymentsv1.Payment{Id: r.GetId()}}, nil
}

func (p *peer) ChargePayment(ctx context.Context, _ *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
	return &paymentsv1.ChargePaymentResponse{}, p.answers(ctx)
}

// quick is a Config with which nothing takes long.
func quick(changes ...func(*Config)) Config {
	cfg := Defaults()
	cfg.Backoff, cfg.MaxBackoff = time.Millisecond, 2*time.Millisecond
	for _, change := range changes {
		change(&cfg)
	}
	return cfg
}

func paymentPolicies(t testing.TB) *policy.Set {
	t.Helper()
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().ByName("PaymentsService"))
	require.NoError(t, err)
	return policies
}

func newRegistry(t testing.TB) *Registry {
	t.Helper()
	r := NewRegistry(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func newPayments(t testing.TB, cfg Config) *Dependency {
	t.Helper()
	d, err := newRegistry(t).Add("payments", cfg, paymentPolicies(t))
	require.NoError(t, err)
	return d
}

// serve serves until the test ends, and returns the address.
func serve(t testing.TB, register func(grpc.ServiceRegistrar), opts ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(opts...)
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})
	return listener.Addr().String()
}

func (p *peer) serve(t testing.TB, opts ...grpc.ServerOption) string {
	t.Helper()
	return serve(t, func(r grpc.ServiceRegistrar) { paymentsv1.RegisterPaymentsServiceServer(r, p) }, opts...)
}

// dial connects with what service.Dial gives every client.
func dial(t testing.TB, d *Dependency, address string, opts ...grpc.DialOption) paymentsv1.PaymentsServiceClient {
	t.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if d != nil {
		opts = append(opts, grpc.WithChainUnaryInterceptor(d.UnaryClientInterceptor()), grpc.WithChainStreamInterceptor(d.StreamClientInterceptor()))
	}
	conn, err := grpc.NewClient(address, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return paymentsv1.NewPaymentsServiceClient(conn)
}

// call serves the peer and returns its client behind a dependency.
func (p *peer) client(t testing.TB, cfg Config) (paymentsv1.PaymentsServiceClient, *Dependency) {
	t.Helper()
	d := newPayments(t, cfg)
	return dial(t, d, p.serve(t)), d
}

func get(ctx context.Context, c paymentsv1.PaymentsServiceClient) error {
	_, err := c.GetPayment(ctx, &paymentsv1.GetPaymentRequest{Id: "p"})
	return err
}

func charge(ctx context.Context, c paymentsv1.PaymentsServiceClient) error {
	_, err := c.ChargePayment(ctx, &paymentsv1.ChargePaymentRequest{})
	return err
}

func withKey(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, keyMetadata, "k")
}

// rested requires that nothing is in flight any more, by any account.
func rested(t *testing.T, d *Dependency) {
	t.Helper()
	require.Eventually(t, func() bool {
		d.breaker.mu.Lock()
		defer d.breaker.mu.Unlock()
		return d.inflight.n.Load() == 0 && d.breaker.probes == 0
	}, 10*time.Second, time.Millisecond, "permits were leaked")
	for range d.cfg.MaxConcurrent {
		require.True(t, d.bulkhead.TryAcquirePermit(), "a place in the bulkhead was leaked")
	}
	for range d.cfg.MaxConcurrent {
		d.bulkhead.ReleasePermit()
	}
}
