// Package orders sells from a catalogue: it places orders, has them paid by the
// payments service, and cancels them again.
//
// Placing an order is two commits around one call to payments. The first stores
// the idempotency key and the order, in PENDING_PAYMENT; the second what became
// of the payment, and the answer. What a crash, a timeout or an outage of
// payments leaves in between, the completer finds and finishes. See order.go for
// the states, completer.go for the way to an end, clients.go for what is asked
// of payments.
//
// A language model may say in words how an order stands; nothing depends on it, and
// explainer.go shows what a dependency is that is worth only so much.
//
// It never moves money itself, and never believes a client about a price.
package orders

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"go.uber.org/fx"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/flags"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/housekeeping"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/service"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/services/orders/migrations"
)

// Definition is the orders service.
var Definition = service.Definition{
	Name:       "orders",
	Module:     Module,
	Migrations: migrations.FS,
	Config:     []any{Config{}, WatchConfig{}, LLMConfig{}, idempotency.Config{}, idempotency.CompleterConfig{}, flags.Config{}},
}

// Config is what orders is told by its environment.
type Config struct {
	PaymentsTarget string `env:"HOLDFAST_PAYMENTS_TARGET" envDefault:"dns:///payments:9090" doc:"where the payments service answers gRPC"`

	Payments resilience.Config `envPrefix:"HOLDFAST_PAYMENTS_"`
}

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	return c.Payments.Check("HOLDFAST_PAYMENTS_")
}

// Module is what the service is made of.
var Module = fx.Module("orders",
	fx.Provide(
		idempotency.NewDeriver,
		idempotency.New,
		readFlags,
		newExplainer,
		fx.Annotate(dialPayments, fx.As(new(grpc.ClientConnInterface))),
		build,
	),
	fx.Invoke(keepWatch),
	service.ProvideAPI(newAPI),
	service.ProvideWorker(newCompleterWorker),
	service.ProvideWorker(newHousekeeping),
)

// dialPayments connects to payments with this service's own credential; each
// call says in whose name it is made.
func dialPayments(
	lifecycle fx.Lifecycle, cfg Config, credentials auth.Config, environment config.Environment, dependencies *resilience.Registry,
) (*grpc.ClientConn, error) {
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().ByName("PaymentsService"))
	if err != nil {
		return nil, fmt.Errorf("policies of payments: %w", err)
	}
	dependency, err := dependencies.Add("payments", cfg.Payments, policies)
	if err != nil {
		return nil, err
	}
	conn, err := service.Dial(cfg.PaymentsTarget, dependency, credentials.Token(environment))
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(conn.Close))
	return conn, nil
}

// readFlags has the flags that are built in, and over them those of a file.
func readFlags(lifecycle fx.Lifecycle, cfg flags.Config, log *slog.Logger) (*flags.Flags, error) {
	// A constructor has no context: it reads one file, and asks nobody.
	features, err := flags.New(context.Background(), cfg, builtInFlags, log)
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(features.Close))
	return features, nil
}

// build puts the service together: the RPCs, the completer that goes on where they
// had to leave off, and those who watch.
func build(
	cfg idempotency.CompleterConfig, watching WatchConfig, pool *pgxpool.Pool, keys *idempotency.Store, derive *idempotency.Deriver,
	conn grpc.ClientConnInterface, explain *explainer, features *flags.Flags, log *slog.Logger,
) (*api, *idempotency.Completer, *watches) {
	s, show := &store{pool: pool}, presenter{features}
	followed := newWatches(s, watching, log)
	finish := &finisher{
		watches:  followed,
		store:    s,
		payments: &payments{client: paymentsv1.NewPaymentsServiceClient(conn)},
		show:     show,
		now:      time.Now,
	}
	completer := idempotency.NewCompleter(keys, finish.resumers(), idempotency.WithConfig(cfg))
	return &api{
		store: s, keys: keys, derive: derive, finish: finish, explainer: explain, show: show, watches: followed,
		nudge: completer.Nudge, now: time.Now,
	}, completer, followed
}

// keepWatch looks for changes from the start of the process to its end. It is no
// worker, which stops when the process drains: who comes to a drained replica all
// the same is told of changes, too.
func keepWatch(w *watches, h *health.Health, lifecycle fx.Lifecycle) {
	var stop context.CancelFunc
	var looking sync.WaitGroup
	h.Show("watches", w.report)
	lifecycle.Append(fx.StartStopHook(
		func(ctx context.Context) {
			ctx, stop = context.WithCancel(context.WithoutCancel(ctx)) // the start is soon over
			looking.Go(func() { w.run(ctx) })
		},
		func() {
			stop()
			looking.Wait()
		},
	))
}

func newAPI(a *api) service.API {
	return service.API{
		Register: func(r grpc.ServiceRegistrar) { ordersv1.RegisterOrdersServiceServer(r, a) },
		Gateway:  registerGateway,
		Accepted: accepted,
	}
}

func newCompleterWorker(completer *idempotency.Completer) service.Worker {
	return service.Worker{Name: "completer", Run: completer.Run}
}

// newHousekeeping keeps the tables of idempotency keys in shape.
func newHousekeeping(pool *pgxpool.Pool, keys *idempotency.Store, log *slog.Logger) service.Worker {
	return service.Worker{Name: "housekeeping", Run: func(ctx context.Context) error {
		maintenance := func(workers *river.Workers) *river.PeriodicJob { return idempotency.AddMaintenance(workers, keys) }
		return housekeeping.Run(ctx, pool, log, maintenance)
	}}
}
