package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// TestMain makes the test binary a service binary when it is told to be one:
// signals and exit codes are tested on real processes.
func TestMain(m *testing.M) {
	if os.Getenv("HOLDFAST_TEST_PROCESS") != "" {
		serveAsProcess()
		return
	}
	goleak.VerifyTestMain(m)
}

// shop is the orders API with answers of its own: what it does is the request's
// business, so that a test can ask for a slow answer, or for a panic.
type shop struct {
	ordersv1.UnimplementedOrdersServiceServer
	calls atomic.Int64
	// streaming is how many streams are open.
	streaming atomic.Int64
	worked    workLog
	ids       func(string) // called with the id of each order asked for
	// refuse is what every order asked for is answered with, if it is set.
	refuse  atomic.Pointer[apierror.Error]
	refused atomic.Int64
	// payments is asked for orderPaid, if it is set.
	payments paymentsv1.PaymentsServiceClient
}

// Ids that the shop answers in a special way.
const (
	orderFine   = "0192d3c0-0000-7000-8000-000000000001"
	orderPanics = "0192d3c0-0000-7000-8000-000000000002"
	orderSlow   = "0192d3c0-0000-7000-8000-000000000003" // takes slowAnswer
	orderStuck  = "0192d3c0-0000-7000-8000-000000000004" // takes until it is cancelled
	orderSecret = "0192d3c0-0000-7000-8000-000000000005" // fails with what must not leak
	orderBrief  = "0192d3c0-0000-7000-8000-000000000006" // takes a few milliseconds
	orderDeaf   = "0192d3c0-0000-7000-8000-000000000007" // takes longer than anybody waits
	orderPaid   = "0192d3c0-0000-7000-8000-000000000008" // takes an answer of payments
	orderCalm   = "0192d3c0-0000-7000-8000-000000000009" // takes long enough to be in flight, and far less than the method may
)

const slowAnswer = 700 * time.Millisecond

var errSecret = errors.New("pq: relation \"cards\" at /srv/db.go:42")

func (s *shop) GetOrder(ctx context.Context, r *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	s.calls.Add(1)
	if s.ids != nil {
		s.ids(r.GetId())
	}
	if refusal := s.refuse.Load(); refusal != nil {
		s.refused.Add(1)
		return nil, refusal
	}
	switch r.GetId() {
	case orderPanics:
		panic("a bug at /srv/orders.go:7")
	case orderSecret:
		return nil, errSecret
	case orderSlow:
		wait(ctx, slowAnswer)
	case orderBrief:
		wait(ctx, 5*time.Millisecond)
	case orderCalm:
		wait(ctx, 150*time.Millisecond)
	case orderStuck:
		<-ctx.Done()
		return nil, ctx.Err()
	case orderDeaf:
		time.Sleep(time.Minute) // deaf on purpose: nothing it could await ends it
	case orderPaid:
		if _, err := s.payments.GetPayment(ctx, &paymentsv1.GetPaymentRequest{Id: r.GetId()}); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("x-request-id")) > 0 {
		_ = grpc.SetHeader(ctx, metadata.Pairs("retry-after", "7", "x-secret", "stays inside"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs(idempotency.ReplayedTrailer, "true"))
	}
	return &ordersv1.GetOrderResponse{Order: &ordersv1.Order{Id: r.GetId(), State: ordersv1.OrderState_ORDER_STATE_PAID}}, nil
}

// UpdateOrder answers what it was asked for, and with 202 when the note is
// "later".
func (s *shop) UpdateOrder(ctx context.Context, r *ordersv1.UpdateOrderRequest) (*ordersv1.UpdateOrderResponse, error) {
	s.calls.Add(1)
	if r.GetId() == orderSlow {
		wait(ctx, slowAnswer)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	seen, _ := metadata.FromIncomingContext(ctx)
	return &ordersv1.UpdateOrderResponse{Order: &ordersv1.Order{
		Id: r.GetId(), ShippingNote: r.GetShippingNote(), Etag: r.GetEtag(), ContactEmail: strings.Join(seen.Get("if-match"), ","),
	}}, nil
}

func (s *shop) ListOrders(context.Context, *ordersv1.ListOrdersRequest) (*ordersv1.ListOrdersResponse, error) {
	s.calls.Add(1)
	return &ordersv1.ListOrdersResponse{}, nil
}

// CreateOrder refuses: what a store of keys does is tested elsewhere.
func (s *shop) CreateOrder(context.Context, *ordersv1.CreateOrderRequest) (*ordersv1.CreateOrderResponse, error) {
	s.calls.Add(1)
	return nil, apierror.New(apierror.ReasonWrongState, "the shop is closed")
}

func accepted(m proto.Message) bool {
	r, ok := m.(*ordersv1.UpdateOrderResponse)
	return ok && r.GetOrder().GetShippingNote() == "later"
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// workLog is what the shop's worker did.
type workLog struct{ started, stopped atomic.Int64 }

// definition is a service that has the shop's API, a worker and no database.
func definition(s *shop, more ...fx.Option) Definition {
	return Definition{
		Name: "shop",
		Module: fx.Module("shop", append(more,
			fx.Supply(s),
			fx.Provide(newUnusedStore),
			ProvideAPI(func(s *shop) API {
				return API{
					Register: func(r grpc.ServiceRegistrar) { registerShop(r, s) },
					Gateway:  ordersv1.RegisterOrdersServiceHandler,
					Accepted: accepted,
				}
			}),
			ProvideWorker(func(s *shop) Worker {
				return Worker{Name: "claims", Run: func(ctx context.Context) error {
					s.worked.started.Add(1)
					<-ctx.Done()
					s.worked.stopped.Add(1)
					return nil
				}}
			}),
		)...),
	}
}

func registerShop(r grpc.ServiceRegistrar, s *shop) { ordersv1.RegisterOrdersServiceServer(r, s) }

// newUnusedStore is a store whose database nobody can reach: no test here gets
// as far as asking it.
func newUnusedStore(lifecycle fx.Lifecycle) (*idempotency.Store, error) {
	cfg := idempotency.DefaultConfig()
	cfg.Secrets = "v1:" + strings.Repeat("0f", 32)
	pool, err := pgxpool.New(context.Background(), "postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(pool.Close))
	deriver, err := idempotency.NewDeriver(cfg)
	if err != nil {
		return nil, err
	}
	return idempotency.New(pool, deriver, cfg, nil)
}

// environment is how tests configure a service: free ports and short waits.
func environment(changes ...string) map[string]string {
	variables := map[string]string{
		"HOLDFAST_ENV":        "development",
		"HOLDFAST_GRPC_ADDR":  "127.0.0.1:0",
		"HOLDFAST_HTTP_ADDR":  "127.0.0.1:0",
		"HOLDFAST_PROBE_ADDR": "127.0.0.1:0",
		"HOLDFAST_ADMIN_ADDR": "127.0.0.1:0",
		"HOLDFAST_LAME_DUCK":  "200ms",
		"HOLDFAST_DRAIN_CAP":  "5s",
	}
	for i := 0; i+1 < len(changes); i += 2 {
		variables[changes[i]] = changes[i+1]
	}
	return variables
}

// instance is a service that runs inside the test.
type instance struct {
	Addresses
	t    *testing.T
	logs *logtest.Buffer
	stop context.CancelFunc
	done chan error
	once sync.Once
	err  error
}

// start runs the service and returns when it is ready. It is drained when the
// test ends, and must have drained without force.
func start(t *testing.T, def Definition, changes ...string) *instance {
	t.Helper()
	i := launch(t, def, changes...)
	t.Cleanup(func() { require.NoError(t, i.drain(), i.logs) })
	return i
}

// launch is start for tests that look at how the service ends.
func launch(t *testing.T, def Definition, changes ...string) *instance {
	t.Helper()
	return launchWith(t, def, nil, changes...)
}

// launchWith is launch with what only a test may ask for.
func launchWith(t *testing.T, def Definition, options []Option, changes ...string) *instance {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	i := &instance{t: t, logs: &logtest.Buffer{}, stop: stop, done: make(chan error, 1)}
	ready := make(chan Addresses, 1)
	go func() {
		i.done <- Run(ctx, def, nil, io.Discard, append(options, WithEnvironment(environment(changes...)), WithLogs(i.logs),
			WithReady(func(a Addresses) { ready <- a }))...)
	}()
	t.Cleanup(func() { _ = i.drain() })
	select {
	case i.Addresses = <-ready:
	case err := <-i.done:
		i.done <- err
		require.NoError(t, err, "the service did not start")
	case <-time.After(30 * time.Second):
		require.Fail(t, "the service was not ready in time", i.logs)
	}
	return i
}

// drain tells the service to stop and returns how that went.
func (i *instance) drain() error {
	i.once.Do(func() {
		i.stop()
		i.err = <-i.done
	})
	return i.err
}

// client calls the shop as the tenant acme.
func (i *instance) client(opts ...grpc.DialOption) ordersv1.OrdersServiceClient {
	return ordersv1.NewOrdersServiceClient(i.dial(opts...))
}

func (i *instance) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	i.t.Helper()
	conn, err := grpc.NewClient(i.GRPC, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(auth.PerRPC(auth.DevelopmentKey)),
	}, opts...)...)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { conn.Close() })
	return conn
}

// answerOf is an HTTP answer, read to its end.
type answerOf struct {
	*http.Response
	body string
}

// send sends one HTTP request on a connection of its own, as acme.
func (i *instance) send(method, path, body string, headers ...string) answerOf {
	i.t.Helper()
	request, err := http.NewRequest(method, "http://"+i.HTTP+path, strings.NewReader(body))
	require.NoError(i.t, err)
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n+1 < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	return do(i.t, request)
}

// get asks one of the ports for operators.
func get(t *testing.T, address, path string) answerOf {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+address+path, http.NoBody)
	require.NoError(t, err)
	return do(t, request)
}

func do(t *testing.T, request *http.Request) answerOf {
	t.Helper()
	response, err := lonely.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answerOf{response, string(body)}
}

var discard = slog.New(slog.DiscardHandler)

// lonely uses each connection once.
var lonely = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
