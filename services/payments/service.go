// Package payments takes money through a card processor, gives it back, and can
// say at any time what happened.
//
// Every write is two commits around one call to the processor. The first stores
// the idempotency key and the payment with its operation open; the second the
// outcome, the ledger entry and the answer. What happens in between, crash or
// timeout, leaves an open operation that the completer finds and finishes. See
// payment.go for the states, operation.go for the way to an outcome, ledger.go
// for the books.
//
// It never sees card data: a payment method is a token.
package payments

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"go.uber.org/fx"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/housekeeping"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/service"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/services/payments/migrations"
)

// Definition is the payments service.
var Definition = service.Definition{
	Name:       "payments",
	Module:     Module,
	Migrations: migrations.FS,
	Config:     []any{Config{}, idempotency.Config{}, idempotency.CompleterConfig{}, ReconcileConfig{}},
}

// Module is what the service is made of.
var Module = fx.Module("payments",
	fx.Provide(
		idempotency.NewDeriver,
		idempotency.New,
		newProcessor,
		build,
		buildReconciler,
	),
	service.ProvideAPI(newAPI),
	service.ProvideAPI(newReconciliationAPI),
	service.ProvideWorker(newCompleterWorker),
	service.ProvideWorker(newReconciliationWorker),
	service.ProvideWorker(newHousekeeping),
	fx.Invoke(watchProcessor),
)

// newProcessor makes the processor that is configured.
func newProcessor(lifecycle fx.Lifecycle, cfg Config, keys idempotency.Config, dependencies *resilience.Registry) (Processor, error) {
	if err := cfg.fits(keys); err != nil {
		return nil, err
	}
	dependency, err := dependencies.Add("processor", cfg.Calls, nil)
	if err != nil {
		return nil, err
	}
	var processor interface {
		Processor
		Close()
	}
	if cfg.Processor == "stripe" {
		processor, err = NewStripeProcessor(cfg.Stripe, cfg.Timeout, dependency)
	} else {
		processor, err = NewSandboxProcessor(cfg.SandboxURL, cfg.Timeout, cfg.Horizon, dependency)
	}
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(processor.Close))
	return processor, nil
}

// build puts the service together: the RPCs, and the completer that goes on
// where they had to leave off.
func build(
	cfg idempotency.CompleterConfig, pool *pgxpool.Pool, keys *idempotency.Store, derive *idempotency.Deriver, processor Processor, log *slog.Logger,
) (*api, *idempotency.Completer) {
	s := &store{pool: pool}
	o := &operations{store: s, processor: processor, log: log, now: clock}
	completer := idempotency.NewCompleter(keys, o.resumers(), idempotency.WithConfig(cfg))
	return &api{
		store:      s,
		keys:       keys,
		derive:     derive,
		operations: o,
		nudge:      completer.Nudge,
		now:        clock,
	}, completer
}

// buildReconciler makes what compares our books with the processor's.
func buildReconciler(cfg ReconcileConfig, a *api, processor Processor, log *slog.Logger) *reconciler {
	return newReconciler(cfg, a.store, a.keys, processor, a.nudge, log)
}

// clock is the time as the database keeps it, so that an answer and a later
// read of the same payment agree.
func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// watchProcessor shows on /statusz whether the processor answers. A key that
// was never used, on a charge that there is not, is as good a question as any,
// and a cheap one everywhere.
func watchProcessor(h *health.Health, processor Processor) {
	h.Watch(health.Dependency{Name: "processor", Check: func(ctx context.Context) error {
		_, err := processor.Lookup(ctx, "is-anybody-there", LookupRequest{Kind: Void, ProcessorID: "is-anybody-there", Since: clock()})
		if errors.Is(err, ErrUnknownKey) {
			return nil
		}
		return err
	}})
}

func newAPI(a *api) service.API {
	return service.API{
		Register: func(r grpc.ServiceRegistrar) { paymentsv1.RegisterPaymentsServiceServer(r, a) },
		Gateway:  paymentsv1.RegisterPaymentsServiceHandler,
		Accepted: accepted,
	}
}

func newCompleterWorker(completer *idempotency.Completer) service.Worker {
	return service.Worker{Name: "completer", Run: completer.Run}
}

func newReconciliationWorker(r *reconciler) service.Worker {
	return service.Worker{Name: "reconciliation", Run: r.work}
}

// newHousekeeping keeps the tables of idempotency keys in shape, and begins to
// reconcile every now and then.
func newHousekeeping(pool *pgxpool.Pool, keys *idempotency.Store, r *reconciler, log *slog.Logger) service.Worker {
	return service.Worker{Name: "housekeeping", Run: func(ctx context.Context) error {
		maintenance := func(workers *river.Workers) *river.PeriodicJob { return idempotency.AddMaintenance(workers, keys) }
		return housekeeping.Run(ctx, pool, log, maintenance, r.job)
	}}
}
