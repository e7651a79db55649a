package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/dig"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/faults"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/resources"
	"github.com/holdfast-dev/holdfast/pkg/telemetry"
)

// errNotReady says that there is nothing to drain yet.
var errNotReady = errors.New("the process is still starting")

// process is one serving process, from its first port to its last.
type process struct {
	cfg       Config
	telemetry *telemetry.Telemetry
	health    *health.Health
	// dependencies is what the module makes and calls.
	dependencies *resilience.Registry
	faults       *faults.Injector
	probe        *quietPort
	admin        *quietPort
	public       atomic.Pointer[public] // nil until the public ports are open
	began        time.Time
}

// serve runs the service until it is told to stop, and drains it. What opens,
// in order: configuration, telemetry, the probe port and the admin port, what
// the module makes (its database first), the public ports, the workers. It
// closes the other way around.
func serve(ctx context.Context, def Definition, o options, logs io.Writer) error {
	s, err := readSettings(def, o.environ)
	if err := errors.Join(err, s.checkKeys()); err != nil {
		return err
	}
	drain, force, stop := interrupts(ctx)
	defer stop()

	t, err := newTelemetry(ctx, def, s, logs)
	if err != nil {
		return err
	}
	fitted := resources.Fit(setting[resources.Config](s), t.Logger) // before anything is sized by GOMAXPROCS
	defer fitted.Close()
	p := &process{cfg: setting[Config](s), telemetry: t, began: time.Now()}
	p.health = health.New(t.Logger, "service", def.Name, "version", Version, "commit", Commit,
		"environment", string(p.cfg.Environment), "go", runtime.Version())
	p.health.Show("resources", func() any { return fitted.Report() })
	p.dependencies = resilience.NewRegistry(t.Logger)
	p.health.Show("dependencies_called", func() any { return p.dependencies.Status() })
	p.faults = faults.New(p.cfg.Environment, t.Logger, p.health)
	err = p.openQuietPorts(ctx)
	if err == nil {
		err = p.live(drain, force, def, s, o)
	}
	return errors.Join(err, p.end(force))
}

func newTelemetry(ctx context.Context, def Definition, s settings, logs io.Writer) (*telemetry.Telemetry, error) {
	cfg := setting[telemetry.Config](s)
	cfg.Service, cfg.Version, cfg.Commit, cfg.Output = def.Name, Version, Commit, logs
	return telemetry.New(ctx, cfg)
}

// openQuietPorts opens what answers before the service does, and after.
func (p *process) openQuietPorts(ctx context.Context) (err error) {
	p.probe, err = openQuietPort(ctx, "HOLDFAST_PROBE_ADDR", p.cfg.ProbeAddr, probeHandler(p.health, p.telemetry.Metrics), p.telemetry.Logger)
	if err != nil {
		return err
	}
	p.admin, err = openQuietPort(ctx, "HOLDFAST_ADMIN_ADDR", p.cfg.AdminAddr,
		adminHandler(p.drain, p.undrain, p.state, p.dependencies.Register, p.faults.Route), p.telemetry.Logger)
	return err
}

// live starts the service, waits until drain ends, and stops it. When force
// ends, stopping is cut short.
func (p *process) live(drain, force context.Context, def Definition, s settings, o options) error {
	app := fx.New(
		fx.NopLogger,
		fx.StopTimeout(p.cfg.stopTimeout()),
		common(s, p.telemetry, p.health, p.dependencies, p.faults),
		def.Module,
		database(drain, def),
		assemble(drain, def, o.sabotage, p.public.Store),
		fx.Options(o.graph...),
	)
	err := app.Err()
	if err == nil {
		err = app.Start(drain)
	}
	if err != nil {
		if drain.Err() != nil {
			p.telemetry.Logger.Info("told to stop while starting")
			return nil
		}
		return fmt.Errorf("starting %s: %w", def.Name, dig.RootCause(err))
	}
	p.ready(drain, o)

	var background sync.WaitGroup
	beating, stopBeating := context.WithCancel(context.WithoutCancel(drain))
	background.Go(func() { heart(beating, p.public.Load().inside.unary.conn, p.health.Beat("grpc")) })
	<-drain.Done()
	// fx has one budget for all stop hooks and its own relay of signals would
	// swallow the second one: so the budget is counted from the parts, and
	// force is ours.
	stopping, cancel := context.WithTimeout(force, p.cfg.stopTimeout())
	defer cancel()
	err = app.Stop(stopping)
	stopBeating()
	background.Wait()
	if err != nil {
		return fmt.Errorf("stopping %s: %w", def.Name, stopError(force, err))
	}
	return nil
}

// stopError says why stopping failed.
func stopError(force context.Context, err error) error {
	if force.Err() != nil {
		return errors.Join(errForced, context.Cause(force))
	}
	return err
}

// ready says that the service is, to everybody who asks.
func (p *process) ready(ctx context.Context, o options) {
	served := p.public.Load()
	p.health.Started()
	served.workers.start(ctx)
	addresses := Addresses{
		GRPC: served.door.listener.Addr().String(), HTTP: served.edge.address,
		Probe: p.probe.address(), Admin: p.admin.address(),
	}
	p.telemetry.Logger.Info("ready", "took", time.Since(p.began).Round(time.Millisecond).String(),
		"grpc", addresses.GRPC, "http", addresses.HTTP, "probe", addresses.Probe, "admin", addresses.Admin,
		"environment", p.cfg.Environment, "commit", Commit)
	if o.settled != nil {
		o.settled(addresses)
	}
}

// end closes what answers about the process, the probe port last: liveness
// holds until there is nothing left to be alive.
func (p *process) end(force context.Context) error {
	if p.admin != nil {
		p.admin.close()
	}
	flushing, cancel := context.WithTimeout(force, p.cfg.FlushTelemetry)
	defer cancel()
	p.health.Close()
	if err := p.dependencies.Close(); err != nil {
		p.telemetry.Logger.Warn("the metrics of dependencies do not stop", "error", err)
	}
	if err := p.telemetry.Shutdown(flushing); err != nil {
		p.telemetry.Logger.Warn("telemetry was not flushed", "error", err) // not worth an exit code
	}
	if p.probe != nil {
		p.probe.close()
	}
	return nil
}

func (p *process) drain(r *http.Request) error {
	served := p.public.Load()
	if served == nil {
		return errNotReady
	}
	return served.drain(r.Context())
}

func (p *process) undrain(r *http.Request) error {
	served := p.public.Load()
	if served == nil {
		return errNotReady
	}
	return served.undrain(r.Context())
}

func (p *process) state() string { return p.health.State() }
