package orders

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/flags"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/pkg/validate"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/services/orders/migrations"
)

// harness is the orders service as it runs: gRPC on loopback behind the
// interceptors, a real Postgres, and payments played by a fake.
type harness struct {
	client   ordersv1.OrdersServiceClient // of the tenant acme
	other    ordersv1.OrdersServiceClient // of the tenant globex
	address  string
	payments *fakePayments
	pool     *pgxpool.Pool
	api      *api // the same service without its server, as another replica
}

func keyConfig() idempotency.Config {
	cfg := idempotency.DefaultConfig()
	cfg.Secrets = "v1:" + strings.Repeat("0f", 32)
	return cfg
}

// start runs the service. It ends with the test.
func start(t *testing.T) *harness {
	t.Helper()
	return startWithFlags(t, "")
}

// startWithFlags runs the service with a file of feature flags.
func startWithFlags(t *testing.T, flagsFile string) *harness {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &harness{pool: pgtest.New(t, migrate, "orders").Pool}
	derive, err := idempotency.NewDeriver(keyConfig())
	require.NoError(t, err)
	keys, err := idempotency.New(h.pool, derive, keyConfig(), log)
	require.NoError(t, err)
	fake, target := startPayments(t)
	h.payments = fake
	conn, err := service.Dial(target, nil, auth.DevelopmentServiceKey)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })

	features, err := flags.New(t.Context(), flags.Config{File: flagsFile}, builtInFlags, log)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, features.Close(context.Background())) }) // the test's context has ended by then
	completing := idempotency.CompleterConfig{Interval: 100 * time.Millisecond, MaxPause: time.Second, Workers: 4}
	a, completer, _ := build(completing, WatchConfig{}, h.pool, keys, derive, conn, &explainer{log: log}, features, log)
	h.api, h.address = a, serve(t, a, keys, log)
	h.client, h.other = h.dial(t, auth.DevelopmentKey), h.dial(t, auth.DevelopmentKeyOther)

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- completer.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return h
}

func migrate(ctx context.Context, url string) error {
	if err := postgres.Migrate(ctx, url, migrations.FS, slog.New(slog.DiscardHandler)); err != nil {
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
	policies, err := policy.Load(ordersv1.File_holdfast_orders_v1_orders_proto.Services().Get(0))
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
	ordersv1.RegisterOrdersServiceServer(server, a)
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

// dial returns a client with a credential.
func (h *harness) dial(t *testing.T, token string) ordersv1.OrdersServiceClient {
	t.Helper()
	conn, err := service.Dial("dns:///"+h.address, nil, token)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return ordersv1.NewOrdersServiceClient(conn)
}

// keyed is a context for one request with a key of its own.
func keyed(ctx context.Context) context.Context { return withKey(ctx, idempotency.NewKey().String()) }

func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
}

// create places an order as acme.
func (h *harness) create(t *testing.T, r *ordersv1.CreateOrderRequest) *ordersv1.Order {
	t.Helper()
	response, err := h.client.CreateOrder(keyed(t.Context()), r)
	require.NoError(t, err)
	return response.GetOrder()
}

// cancel cancels an order of acme.
func (h *harness) cancel(t *testing.T, id string) *ordersv1.Order {
	t.Helper()
	response, err := h.client.CancelOrder(keyed(t.Context()), &ordersv1.CancelOrderRequest{Id: id})
	require.NoError(t, err)
	return response.GetOrder()
}

// get reads an order of acme.
func (h *harness) get(t *testing.T, id string) *ordersv1.Order {
	t.Helper()
	response, err := h.client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: id})
	require.NoError(t, err)
	return response.GetOrder()
}

// only returns the one order that acme has.
func (h *harness) only(t *testing.T) *ordersv1.Order {
	t.Helper()
	listed, err := h.client.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{})
	require.NoError(t, err)
	require.Len(t, listed.GetOrders(), 1)
	return listed.GetOrders()[0]
}

// awaitState waits until somebody has brought an order to a state.
func (h *harness) awaitState(t *testing.T, id string, want ordersv1.OrderState) *ordersv1.Order {
	t.Helper()
	var o *ordersv1.Order
	eventually(t, "the order becomes "+want.String(), func() bool {
		o = h.get(t, id)
		return o.GetState() == want
	})
	return o
}

// requireMoney holds payments to how often money was taken and given back.
func (h *harness) requireMoney(t *testing.T, captures, refunds int) {
	t.Helper()
	gotCaptures, gotRefunds := h.payments.counts()
	require.Equal(t, captures, gotCaptures, "captures")
	require.Equal(t, refunds, gotRefunds, "refunds")
}

// requireNothingOpen waits until no key is undecided: the platform's promise for
// every request, whatever happened to it.
func (h *harness) requireNothingOpen(t *testing.T) {
	t.Helper()
	eventually(t, "every key is decided", func() bool {
		return h.count(t, `SELECT (SELECT count(*) FROM idempotency_keys WHERE NOT decided)
			+ (SELECT count(*) FROM idempotency_opaque_keys WHERE NOT decided)`) == 0
	})
}

// count runs a query for one number.
func (h *harness) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, h.pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// exec changes the database behind the service's back.
func (h *harness) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := h.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// requireSame compares messages as messages.
func requireSame(t *testing.T, want, got proto.Message) {
	t.Helper()
	require.Empty(t, cmp.Diff(want, got, protocmp.Transform()))
}
