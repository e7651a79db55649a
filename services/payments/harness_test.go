package payments

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	moneypb "google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/validate"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/services/payments/migrations"
)

const (
	processing = paymentsv1.PaymentState_PAYMENT_STATE_PROCESSING
	authorized = paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED
	captured   = paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED
	declined   = paymentsv1.PaymentState_PAYMENT_STATE_DECLINED
	voided     = paymentsv1.PaymentState_PAYMENT_STATE_VOIDED
	refunded   = paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED
	failed     = paymentsv1.PaymentState_PAYMENT_STATE_FAILED
)

// harness is the service as it runs: gRPC on loopback behind the interceptors,
// a real Postgres, and the sandbox as a process of its own.
type harness struct {
	sandbox   *sandboxProcess
	pool      *pgxpool.Pool
	keys      *idempotency.Store
	api       *api
	completer *idempotency.Completer
	client    paymentsv1.PaymentsServiceClient // tenant acme
	other     paymentsv1.PaymentsServiceClient // tenant globex
}

// patience is how long the harness's processor is waited for.
const patience = 400 * time.Millisecond

func keyConfig() idempotency.Config {
	cfg := idempotency.DefaultConfig()
	cfg.Secrets = "v1:" + strings.Repeat("0f", 32)
	cfg.Bound, cfg.Reserve, cfg.Lease = 2*time.Second, 500*time.Millisecond, 4500*time.Millisecond
	return cfg
}

// start runs the service with its completer.
func start(t *testing.T) *harness {
	t.Helper()
	h := startIdle(t)
	h.complete(t)
	return h
}

// startIdle runs the service without a completer: what is left open stays open.
func startIdle(t *testing.T) *harness {
	t.Helper()
	sandbox := startSandbox(t)
	processor, err := NewSandboxProcessor(sandbox.url, patience, time.Hour, nil)
	require.NoError(t, err)
	t.Cleanup(processor.Close)
	h := startOn(t, processor)
	h.sandbox = sandbox
	return h
}

// startOn runs the service on a processor, without a completer.
func startOn(t *testing.T, processor Processor) *harness {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &harness{pool: pgtest.New(t, migrate, "payments").Pool}
	derive, err := idempotency.NewDeriver(keyConfig())
	require.NoError(t, err)
	h.keys, err = idempotency.New(h.pool, derive, keyConfig(), log)
	require.NoError(t, err)
	h.api, h.completer = build(idempotency.CompleterConfig{Interval: 100 * time.Millisecond, MaxPause: time.Second, Workers: 4}, h.pool, h.keys, derive, processor, log)
	address := serve(t, h.api, h.keys, log)
	h.client = dial(t, address, auth.DevelopmentKey)
	h.other = dial(t, address, auth.DevelopmentKeyOther)
	return h
}

// complete starts the completer.
func (h *harness) complete(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.completer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
}

func migrate(ctx context.Context, url string) error {
	if err := postgres.Migrate(ctx, url, migrations.FS, slog.New(slog.DiscardHandler), postgres.WithRiver()); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return idempotency.Maintain(ctx, conn)
}

// serve runs the gRPC server behind the interceptors that pkg/service uses.
func serve(t *testing.T, a *api, keys *idempotency.Store, log *slog.Logger) string {
	t.Helper()
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().Get(0))
	require.NoError(t, err)
	credentials, err := auth.NewKeySet(auth.Config{}, config.Development, log)
	require.NoError(t, err)
	validated, err := validate.UnaryServerInterceptor()
	require.NoError(t, err)
	server := grpc.NewServer(grpc.ForceServerCodecV2(idempotency.Codec()), grpc.ChainUnaryInterceptor(
		apierror.UnaryServerInterceptor(log),
		policies.UnaryServerInterceptor(),
		auth.UnaryServerInterceptor(credentials, policies),
		idempotency.UnaryServerInterceptor(keys, policies),
		validated,
	))
	paymentsv1.RegisterPaymentsServiceServer(server, a)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return listener.Addr().String()
}

func dial(t *testing.T, address, token string) paymentsv1.PaymentsServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoker(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), method, request, reply, cc, opts...)
		}))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return paymentsv1.NewPaymentsServiceClient(conn)
}

// keyed is a context with a fresh idempotency key.
func keyed(t testing.TB) context.Context {
	return withKey(t, idempotency.NewKey().String())
}

func withKey(t testing.TB, key string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", key)
}

func eur(minor int64) *moneypb.Money {
	return &moneypb.Money{CurrencyCode: "EUR", Units: minor / 100, Nanos: int32(minor%100) * 10_000_000}
}

func (h *harness) charge(t testing.TB, reference, card string, minor int64) *paymentsv1.Payment {
	t.Helper()
	r, err := h.client.ChargePayment(keyed(t), &paymentsv1.ChargePaymentRequest{Reference: reference, Amount: eur(minor), PaymentMethod: card})
	require.NoError(t, err)
	return r.GetPayment()
}

func (h *harness) authorize(t testing.TB, reference, card string, minor int64) *paymentsv1.Payment {
	t.Helper()
	r, err := h.client.AuthorizePayment(keyed(t), &paymentsv1.AuthorizePaymentRequest{Reference: reference, Amount: eur(minor), PaymentMethod: card})
	require.NoError(t, err)
	return r.GetPayment()
}

func (h *harness) get(t *testing.T, id string) *paymentsv1.Payment {
	t.Helper()
	r, err := h.client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Id: id})
	require.NoError(t, err)
	return r.GetPayment()
}

// becomes waits until nothing is open on the payment and it is in the state.
func (h *harness) becomes(t *testing.T, id string, state paymentsv1.PaymentState) *paymentsv1.Payment {
	t.Helper()
	var p *paymentsv1.Payment
	require.Eventually(t, func() bool {
		p = h.get(t, id)
		return p.GetState() == state && p.GetPendingOperation() == 0
	}, 20*time.Second, 10*time.Millisecond, "payment %s never became %s", id, state)
	return p
}

// exec changes the database behind the service's back.
func (h *harness) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := h.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (h *harness) number(t *testing.T, sql string, args ...any) int64 {
	t.Helper()
	var n int64
	require.NoError(t, h.pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// ledger is what our books say that a payment took.
func (h *harness) ledger(t *testing.T, id string) int64 {
	t.Helper()
	return h.number(t, `
SELECT coalesce(sum(CASE WHEN debit LIKE 'processor:%' THEN amount ELSE -amount END), 0)::bigint
FROM ledger_entries
WHERE payment_id = $1`, id)
}

// agrees checks the payment, our ledger and the processor's against each other.
func (h *harness) agrees(t *testing.T, id string) {
	t.Helper()
	p := h.get(t, id)
	net := minor(p.GetCaptured()) - minor(p.GetRefunded())
	require.Equal(t, net, h.ledger(t, id), "our ledger")
	theirs := h.sandbox.total(t, id)
	require.Equal(t, net, theirs.NetCaptured, "the processor's ledger")
	require.LessOrEqual(t, theirs.Opened, 1, "at most one charge")
}

func minor(m *moneypb.Money) int64 { return m.GetUnits()*100 + int64(m.GetNanos()/10_000_000) }

func requireReason(t *testing.T, want apierror.Reason, err error) {
	t.Helper()
	got, _ := apierror.ReasonOf(err)
	require.Equal(t, want, got, "%v", err)
}
