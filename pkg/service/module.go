package service

import (
	"context"
	"log/slog"

	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/faults"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
	"github.com/holdfast-dev/holdfast/pkg/telemetry"
)

// common is what the graph of every service begins with.
func common(s settings, t *telemetry.Telemetry, h *health.Health, dependencies *resilience.Registry, injector *faults.Injector) fx.Option {
	cfg := setting[Config](s)
	return fx.Options(
		s.supply(),
		fx.Supply(cfg.Environment, t.Logger, t, h, dependencies, injector),
		fx.Provide(newKeySet, newLimits),
	)
}

func newKeySet(cfg auth.Config, environment config.Environment, log *slog.Logger) (auth.Verifier, error) {
	return auth.NewKeySet(cfg, environment, log)
}

// newLimits makes the limits, which are the same for all of the service's servers,
// and shows them.
func newLimits(cfg ratelimit.Config, h *health.Health, lifecycle fx.Lifecycle) (*ratelimit.Limits, error) {
	limits, err := ratelimit.New(cfg)
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(limits.Close))
	h.Show("rate_limits", func() any { return limits.Report() })
	return limits, nil
}

// parts is what a service's module has made, and what is needed to serve it.
type parts struct {
	fx.In

	Config    Config
	Shed      shed.Config
	Log       *slog.Logger
	Telemetry *telemetry.Telemetry
	Health    *health.Health
	Faults    *faults.Injector
	Verifier  auth.Verifier
	Limits    *ratelimit.Limits
	APIs      []API              `group:"apis"`
	Workers   []Worker           `group:"workers"`
	Routes    []Route            `group:"routes"`
	Store     *idempotency.Store `optional:"true"`
	Lifecycle fx.Lifecycle
}

// assemble makes the public side of the service. It is invoked last, so that
// its stop hook, the drain, runs first: everything the handlers use is closed
// after the last handler has returned.
func assemble(ctx context.Context, def Definition, sabotage Sabotage, publish func(*public)) fx.Option {
	return fx.Invoke(func(p parts) error {
		plan, err := p.plan(ctx, def)
		if err != nil {
			return err
		}
		var served *public
		p.Lifecycle.Append(fx.Hook{
			OnStart: func(ctx context.Context) error {
				served, err = open(ctx, plan, p)
				if err != nil {
					return err
				}
				served.sabotage = sabotage
				publish(served)
				return nil
			},
			OnStop: func(ctx context.Context) error { return served.shutdown(ctx) },
		})
		return nil
	})
}

// plan checks what the service promises, and prepares its servers.
func (p parts) plan(ctx context.Context, def Definition) (blueprint, error) {
	policies, err := enforcePolicies(p.APIs, p.Store)
	if err != nil {
		return blueprint{}, err
	}
	p.Health.Serves(serviceNames(p.APIs)...)
	p.Faults.Serves(policies.All())
	c := chain{
		log: p.Log, policies: policies, faults: p.Faults, verifier: p.Verifier, limits: p.Limits,
		life: lifespanOf(def, p.Config), longCalls: def.LongCalls, streams: newStreamMeter(), shedder: p.shedder(policies), store: p.Store,
	}
	if err := c.prepare(ctx); err != nil {
		return blueprint{}, err
	}
	return blueprint{
		cfg: p.Config, apis: p.APIs, chain: c,
		health: p.Health.GRPC(), stats: p.Telemetry.Server(c.measured),
	}, nil
}

// shedder makes what sheds load for all servers of the process, or nil if it is
// off.
func (p parts) shedder(policies *policy.Set) *shed.Shedder {
	if !p.Shed.Enabled {
		return nil
	}
	s := shed.New(p.Shed, policies, p.Log)
	p.Health.Show("shedding", func() any { return s.Report() })
	p.Lifecycle.Append(fx.StopHook(s.Close)) // after the drain
	return s
}

// open opens the public listeners and serves. The ports open only now: while a
// service starts, a refused connection sends its callers elsewhere, where one
// that is accepted would keep them waiting.
func open(ctx context.Context, plan blueprint, p parts) (_ *public, err error) {
	cfg := plan.cfg
	served := &public{
		cfg: cfg, log: p.Log, health: p.Health,
		workers: &workforce{workers: slot{name: cfg.Slot, file: cfg.ActiveSlotFile, log: p.Log}.gate(counted(ctx, p.Workers)), log: p.Log},
		drains:  newDrainMeter(ctx),
		ending:  make(chan struct{}),
		cutOff:  make(chan struct{}),
	}
	beside, err := newRoutes(p.Routes, plan, served.endings) //nolint:contextcheck // its requests bring contexts of their own
	if err != nil {
		return nil, err
	}
	grpcPort, err := listenPublic(ctx, "HOLDFAST_GRPC_ADDR", cfg.GRPCAddr, cfg.MaxConns)
	if err != nil {
		return nil, err
	}
	httpPort, err := listenPublic(ctx, "HOLDFAST_HTTP_ADDR", cfg.HTTPAddr, cfg.MaxConns)
	if err != nil {
		_ = grpcPort.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = grpcPort.Close()
			_ = httpPort.Close()
		}
	}()
	if served.inside, err = openInside(plan.forGateway(), served.endings, p.Log); err != nil { //nolint:contextcheck // its streams bring contexts of their own
		return nil, err
	}
	// The gateway outlives the context of starting.
	gateway, err := newGateway(context.WithoutCancel(ctx), cfg, p.APIs, served.inside.unary.conn, beside, p.Log, p.Faults)
	if err != nil {
		served.inside.close(ctx)
		return nil, err
	}
	served.door = openDoor(p.Faults.Listener(grpcPort), plan.buildFor, cfg.cutOffBefore(), p.Log)
	served.edge = openEdge(p.Faults.Listener(httpPort), cfg, p.Limits, withDocs(gateway, cfg.Environment), beside, served.endings, p.Log)
	return served, nil
}
