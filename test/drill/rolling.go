package drill

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/test/load"
)

// RollingName is the name of the rolling drill.
const RollingName = "rolling"

func rollingDrill() Drill {
	return Drill{
		Name:  RollingName,
		Short: "Replace every replica under load: no request may fail",
		Long: `Starts a Postgres of its own, the sandbox, and three replicas each of orders and
payments as processes; puts open-loop load on (gRPC and HTTP, reused and new
connections, retries off); replaces every replica; checks the invariants; and
prints a verdict.`,
		Sabotages: []SabotageOf{
			{NoDrain, "replicas stop at once when told to"},
			{NoReadinessFlip, "replicas go on saying that they are ready while they leave"},
		},
		Rate:     "requests a second",
		Defaults: DefaultOptions(),
		Hold:     Rolling,
	}
}

// Rolling replaces every replica of orders and of payments under load, as a
// rolling deploy does, and judges it. Its error says that the drill could not
// be held; what it found is the verdict.
func Rolling(ctx context.Context, o Options) (*Verdict, error) {
	began := time.Now()
	var s stage
	defer s.close(ctx)
	if err := s.set(ctx, &o); err != nil {
		return nil, err
	}
	shopper, err := s.shopper(o.Seed, everyWay)
	if err != nil {
		return nil, err
	}

	s.progress("load: %g requests a second, client retries off", o.Rate)
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

	s.progress("waiting until everything is decided, then checking the invariants")
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
		s.progress("replacing replica %d of orders and payments (%d sent, %d failed)", n%o.Replicas+1, progress.Sent, progress.Failed)
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
