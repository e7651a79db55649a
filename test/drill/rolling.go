package drill

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// RollingName is the name of the rolling drill.
const RollingName = "rolling"

func rollingDrill() Drill {
	return Drill{
		Name:  RollingName,
		Short: "Replace every replica under load: no request may fail, no watch may miss anything",
		Long: `Starts a Postgres of its own, the sandbox, and three replicas each of orders and
payments as processes; puts open-loop load on (gRPC and HTTP, reused and new
connections, retries off, and clients that follow an order while it changes);
replaces every replica; checks the invariants; and prints a verdict.`,
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

	follower, err := s.follower(shopper)
	if err != nil {
		return nil, err
	}

	s.progress("load: %g orders and %g watches a second, client retries off", o.Rate, o.Watches)
	clients := shopping(ctx, o, 0, shopper, follower)
	rollErr := pause(ctx, o.Quiet)
	if rollErr == nil {
		clients.phase("during")
		rollErr = s.roll(ctx, o, clients)
	}
	if rollErr == nil {
		clients.phase("after")
		rollErr = pause(ctx, o.Quiet)
	}
	clients.wait()
	if rollErr != nil {
		return nil, rollErr
	}

	s.progress("waiting until everything is decided, then checking the invariants")
	audit, err := s.audit(ctx, shopper.history)
	if err != nil {
		return nil, err
	}
	v := judge(RollingName, o, clients.seen(), append(s.orders.drains, s.payments.drains...), audit, time.Since(began))
	v.HandedOver = follower.handovers.Load()
	return v, nil
}

// roll replaces one replica of each service after another until the duration is
// over and every one was replaced. A replica of orders and one of payments go
// at the same time, so that a call between two that are leaving is among what
// must not fail.
func (s *stage) roll(ctx context.Context, o Options, clients flows) error {
	end := time.Now().Add(o.Duration)
	for n := 0; n < o.Replicas || time.Now().Before(end); n++ {
		progress := clients.progress()
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
