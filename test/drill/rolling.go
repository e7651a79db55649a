package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/test/load"
)

// RollingName is the name of the rolling drill.
const RollingName = "rolling"

// Options of a drill. Zero values are not defaults: see [DefaultOptions].
type Options struct {
	// Duration is how long replicas are replaced; each one is at least once.
	Duration time.Duration
	// Rate is how many requests are due each second.
	Rate float64
	// Replicas is how many of each service run.
	Replicas int
	// Quiet is how long the load runs before the first and after the last
	// replacement.
	Quiet time.Duration
	// Seed makes the drawn requests and connections repeatable.
	Seed uint64
	// Sabotage breaks something on purpose.
	Sabotage Sabotage
	// Progress is told what happens; it formats like fmt.Sprintf.
	Progress Progress
}

// Progress takes what a drill is doing, for someone who waits for it.
type Progress = func(format string, args ...any)

// DefaultOptions run in well under a minute on two cores.
func DefaultOptions() Options {
	return Options{Duration: 15 * time.Second, Rate: 60, Replicas: 3, Quiet: 2 * time.Second, Seed: 1}
}

// Validate reports options that could not work.
func (o Options) Validate() error {
	var errs []error
	if o.Duration <= 0 || o.Duration > time.Hour {
		errs = append(errs, fmt.Errorf("the duration is %s, it must be above 0 and at most 1h", o.Duration))
	}
	if o.Rate <= 0 || o.Rate > 10_000 {
		errs = append(errs, fmt.Errorf("the rate is %g a second, it must be above 0 and at most 10,000", o.Rate))
	}
	return errors.Join(errs...)
}

// Rolling replaces every replica of orders and of payments under load, as a
// rolling deploy does, and judges it. Its error says that the drill could not
// be held; what it found is the verdict.
func Rolling(ctx context.Context, o Options) (*Verdict, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	began := time.Now()
	var s stage
	defer s.close(ctx)
	if err := s.set(ctx, o); err != nil {
		return nil, err
	}
	shopper, err := s.shopper(ctx, o.Seed)
	if err != nil {
		return nil, err
	}

	o.Progress("load: %g requests a second, client retries off", o.Rate)
	run := load.Start(ctx, load.Plan{Rate: o.Rate, Operation: shopper.visit}, "before")
	rollErr := pause(ctx, o.Quiet)
	if rollErr == nil {
		run.Phase("during")
		rollErr = s.roll(ctx, o, run)
	}
	if rollErr == nil {
		run.Phase("after")
		rollErr = pause(ctx, o.Quiet)
	}
	report := run.Stop()
	if rollErr != nil {
		return nil, rollErr
	}

	o.Progress("waiting until everything is decided, then checking the invariants")
	audit, err := s.audit(ctx, shopper.history())
	if err != nil {
		return nil, err
	}
	return judge(RollingName, o, report, append(s.orders.drains, s.payments.drains...), audit, time.Since(began)), nil
}

// roll replaces one replica of each service after another until the duration is
// over and every one was replaced. A replica of orders and one of payments go
// at the same time, so that a call between two that are leaving is among what
// must not fail.
func (s *stage) roll(ctx context.Context, o Options, run *load.Run) error {
	end := time.Now().Add(o.Duration)
	for n := 0; n < o.Replicas || time.Now().Before(end); n++ {
		progress := run.Progress()
		o.Progress("replacing replica %d of orders and payments (%d sent, %d failed)", n%o.Replicas+1, progress.Sent, progress.Failed)
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return s.orders.replace(ctx, n%o.Replicas) })
		group.Go(func() error { return s.payments.replace(ctx, n%o.Replicas) })
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// pause lets the load run.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
