package resilience

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"

	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Dependency is something that this process calls: one breaker, one bulkhead and
// one retry budget, shared by all calls. Its interceptors and its transport may
// be used by any number of goroutines.
type Dependency struct {
	name     string
	cfg      Config
	log      *slog.Logger
	breaker  *breaker
	bulkhead bulkhead.Bulkhead[any]
	inflight gauge
	budget   *budget
	methods  map[string]*method
	meter    *meter
}

// newDependency makes a Dependency; see [Registry.Add].
func newDependency(name string, cfg Config, policies *policy.Set, log *slog.Logger) *Dependency {
	d := &Dependency{
		name:     name,
		cfg:      cfg,
		log:      log,
		bulkhead: bulkhead.New[any](uint(cfg.MaxConcurrent)),
		budget:   newBudget(cfg.RetryRatio),
		methods:  methodsOf(cfg, policies),
		meter:    newMeter(name),
	}
	d.breaker = newBreaker(cfg, d.breakerChanged)
	return d
}

// breakerChanged tells about a change of state: it is rare, so the log has each.
// It belongs to no request: the one that happened to cause it is one of many.
func (d *Dependency) breakerChanged(from, to string) {
	d.meter.transition(to)
	level := slog.LevelInfo
	if to == "open" {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "a circuit breaker changed", "dependency", d.name, "from", from, "to", to)
}

func (d *Dependency) method(fullName string) *method {
	if m, ok := d.methods[fullName]; ok {
		return m
	}
	return unlisted
}

// admission is a place in the bulkhead and a permit of the breaker, for one
// attempt. It is settled exactly once.
type admission struct {
	permit permit
	began  time.Time
}

// admit asks the breaker, then waits for a place in the bulkhead. An error is
// final: the dependency was not called, and trying again at once is no use.
func (d *Dependency) admit(ctx context.Context) (admission, error) {
	permit, wait, ok := d.breaker.acquire()
	if !ok {
		d.meter.refused(ctx, refusedOpen)
		return admission{}, errOpen(d.name, wait)
	}
	if err := d.bulkhead.AcquirePermitWithMaxWait(ctx, d.cfg.MaxWait); err != nil {
		d.breaker.settle(permit, Neutral, 0)
		if errors.Is(err, bulkhead.ErrFull) {
			d.meter.refused(ctx, refusedFull)
			return admission{}, errFull(d.name)
		}
		return admission{}, err
	}
	d.inflight.add(1)
	return admission{permit, time.Now()}, nil
}

// settle ends what admit began.
func (d *Dependency) settle(a admission, h Health) time.Duration {
	took := time.Since(a.began)
	d.release()
	d.breaker.settle(a.permit, h, took)
	return took
}

// release gives back the place in the bulkhead.
func (d *Dependency) release() {
	d.inflight.add(-1)
	d.bulkhead.ReleasePermit()
}
