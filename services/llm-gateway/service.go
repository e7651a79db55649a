// Package llmgateway is one door to language models: it survives the outages of
// their providers, and never spends more than it may.
//
// A request comes in a protocol that clients already speak, OpenAI's or Anthropic's,
// or by gRPC. It is sent along a chain of providers until one answers (package
// dispatch); what the worst case costs is reserved before anything leaves, and what
// it did cost is settled when it has ended (package ledger). See gateway.go for the
// way of a request, follow.go for streams, books.go for the money.
//
// Prompts and answers are not logged, and are kept only where a client asks for it,
// by an idempotency key.
package llmgateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"go.uber.org/fx"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/housekeeping"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/builtin"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/limits"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/migrations"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// Definition is the LLM gateway.
var Definition = service.Definition{
	Name:       "llm-gateway",
	Module:     Module,
	Migrations: migrations.FS,
	Config:     []any{Config{}},
	// Its calls take minutes: a drain waits for the longest that a route allows.
	Defaults:  map[string]string{"HOLDFAST_DRAIN_CAP": "5m"},
	LongCalls: true,
}

// Module is what the service is made of.
var Module = fx.Module("llm-gateway",
	fx.Provide(
		openPrices,
		openRoutes,
		newLedger,
		limits.NewTenants,
		newGate,
		newDispatcher,
		newGateway,
	),
	service.ProvideAPI(newAPI),
	service.ProvideRoutes(newRoutes),
	service.ProvideWorker(newReconciler),
	service.ProvideWorker(newHousekeeping),
	fx.Invoke(show),
)

// openPrices reads the prices, and follows the file.
func openPrices(lifecycle fx.Lifecycle, cfg Config, log *slog.Logger) (*price.Source, error) {
	if cfg.PricesFile == "" {
		return builtin.Prices(), nil
	}
	source, err := price.Open(cfg.PricesFile, log)
	if err != nil {
		return nil, fmt.Errorf("HOLDFAST_LLM_PRICES_FILE: %w", err)
	}
	watch(lifecycle, func(ctx context.Context) { source.Watch(ctx, cfg.Reload) })
	return source, nil
}

// openRoutes reads the routes, and follows the file. A target without a price cannot
// be paid for, and so is a mistake.
func openRoutes(lifecycle fx.Lifecycle, cfg Config, common service.Config, prices *price.Source, log *slog.Logger) (*routes.Source, error) {
	priced := func(t *routes.Table) error {
		return t.Unpriced(func(provider, model string) bool {
			_, ok := prices.Current().Lookup(provider, model, time.Now())
			return ok
		})
	}
	if cfg.RoutesFile == "" {
		source, err := builtin.Routes(cfg.variables(common.Environment), priced)
		if err != nil {
			return nil, fmt.Errorf("the routes that are built in: %w", err)
		}
		return source, nil
	}
	source, err := routes.Open(cfg.RoutesFile, cfg.variables(common.Environment), log, priced)
	if err != nil {
		return nil, fmt.Errorf("HOLDFAST_LLM_ROUTES_FILE: %w", err)
	}
	watch(lifecycle, func(ctx context.Context) { source.Watch(ctx, cfg.Reload) })
	return source, nil
}

// watch runs a loop as long as the service does.
func watch(lifecycle fx.Lifecycle, loop func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background()) // the hook ends it
	ended := make(chan struct{})
	lifecycle.Append(fx.Hook{
		OnStart: func(context.Context) error {
			go func() { // the stop hook waits for it
				defer close(ended)
				loop(ctx)
			}()
			return nil
		},
		OnStop: func(context.Context) error {
			cancel()
			<-ended
			return nil
		},
	})
}

func newLedger(cfg Config, pool *pgxpool.Pool, log *slog.Logger) *ledger.Ledger {
	return ledger.New(pool, ledger.WithLogger(log), ledger.WithKeyRetention(cfg.KeyFor), ledger.WithHistory(cfg.History),
		ledger.WithMaxAnswer(maxKept), ledger.WithFirstLook(cfg.FirstLook))
}

// newGate is where attempts wait for the limits of a provider's key.
func newGate() dispatch.Gate { return limits.NewKeys() }

func newDispatcher(lifecycle fx.Lifecycle, gate dispatch.Gate, breakers *resilience.Registry, log *slog.Logger) (*dispatch.Dispatcher, error) {
	d, err := dispatch.New(dispatch.Options{Log: log, Breakers: breakers, Gate: gate})
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(d.Close))
	return d, nil
}

func newGateway(
	lifecycle fx.Lifecycle, cfg Config, table *routes.Source, prices *price.Source, books *ledger.Ledger,
	dispatcher *dispatch.Dispatcher, tenants *limits.Tenants, log *slog.Logger,
) *gateway {
	g := &gateway{
		cfg: cfg, routes: table, prices: prices, ledger: books, dispatcher: dispatcher, tenants: tenants, log: log, now: time.Now,
		settler: newSettler(context.Background(), cfg.SettleFor, log), // its close ends it
	}
	g.meter = newMeter(g)
	lifecycle.Append(fx.StopHook(func(ctx context.Context) error {
		g.settler.close(ctx)
		return g.meter.stop()
	}))
	return g
}

func newAPI(g *gateway) service.API {
	a := &api{gateway: g}
	return service.API{
		Register: func(r grpc.ServiceRegistrar) { llmv1.RegisterLLMGatewayServiceServer(r, a) },
		Gateway:  llmv1.RegisterLLMGatewayServiceHandler,
	}
}

func newReconciler(cfg Config, books *ledger.Ledger, table *routes.Source, prices *price.Source) service.Worker {
	l := &lookups{routes: table, prices: prices, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("a lookup is not redirected")
	}}}
	reconciler := ledger.NewReconciler(books, l.find, ledger.WithInterval(cfg.Reconcile), ledger.WithHorizon(cfg.Horizon), ledger.WithBackoff(cfg.FirstLook, 15*time.Minute))
	return service.Worker{Name: "reconciler", Run: reconciler.Run}
}

// newHousekeeping removes what is past its time.
func newHousekeeping(pool *pgxpool.Pool, books *ledger.Ledger, log *slog.Logger) service.Worker {
	return service.Worker{Name: "housekeeping", Run: func(ctx context.Context) error {
		return housekeeping.Run(ctx, pool, log, func(workers *river.Workers) *river.PeriodicJob { return ledger.AddMaintenance(workers, books) })
	}}
}

// show puts on /statusz what an operator asks first: which file holds, which keys
// rest, which providers fail.
func show(h *health.Health, g *gateway) {
	h.Show("llm_routes", func() any { return told(g.routes.Status(), g.routes.Current().Version) })
	h.Show("llm_prices", func() any { return told(g.prices.Status(), g.prices.Current().Version) })
	h.Show("llm_providers", func() any { return g.dispatcher.Status() })
}
