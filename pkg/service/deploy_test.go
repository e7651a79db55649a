package service

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// jumpy is the shop as a dependency with a breaker that a single failure opens,
// and the log, which has each change of the breaker.
func jumpy(t *testing.T, changes ...func(*resilience.Config)) (*resilience.Dependency, *logtest.Buffer) {
	t.Helper()
	cfg := resilience.Defaults()
	cfg.BreakerMinCalls, cfg.BreakerRate = 1, 1e-9
	cfg.MaxAttempts = 1 // what failed has failed
	cfg.AttemptPart = 1
	for _, change := range changes {
		change(&cfg)
	}
	policies, err := policy.Load(ordersv1.File_holdfast_orders_v1_orders_proto.Services().ByName("OrdersService"))
	require.NoError(t, err)
	logs := &logtest.Buffer{}
	registry := resilience.NewRegistry(slog.New(slog.NewTextHandler(logs, nil)))
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	dependency, err := registry.Add("shop", cfg, policies)
	require.NoError(t, err)
	return dependency, logs
}

const (
	breakerChanged = "a circuit breaker changed"
	breakerOpened  = "from=closed to=open"
)

// steady is a load of short calls, and of some that are always in flight. It leaves
// the machine time to spare: a call that runs out of it says nothing about a deploy.
func steady(f *fleet, dependency *resilience.Dependency) *load {
	client, l := ordersv1.NewOrdersServiceClient(f.dial(dependency)), newLoad()
	for _, of := range []struct {
		id    string
		pause time.Duration
	}{{orderBrief, 15 * time.Millisecond}, {orderCalm, 0}} {
		for range 5 {
			l.run(func(ctx context.Context) error {
				_, err := client.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: of.id})
				wait(ctx, of.pause)
				return err
			})
		}
	}
	return l
}

// TestARollingDeployTripsNoBreaker: every replica of what is called is replaced,
// and a breaker that one failure would open never changes. Nothing is tried again.
func TestARollingDeployTripsNoBreaker(t *testing.T) {
	f := newFleet(t, 3)
	dependency, logs := jumpy(t)
	requireUnharmed(t, f, steady(f, dependency), dependency, logs, func(old *replica) {
		eventually(t, func() bool { return old.shop.calls.Load() > 20 }, "it is called")
	})
}

// requireUnharmed replaces every replica, after leaving was done to it, and
// requires that no call fails and that the breaker stays as it is.
func requireUnharmed(t *testing.T, f *fleet, l *load, dependency *resilience.Dependency, logs *logtest.Buffer, leaving func(*replica)) {
	t.Helper()
	for _, old := range f.replicas() {
		leaving(old)
		fresh, err := f.replace(old)
		require.NoError(t, err, old.logs)
		eventually(t, func() bool { return fresh.shop.calls.Load() > 20 }, "the new replica is found")
	}
	failures, problem := l.end()
	require.Zero(t, failures, "of %d calls: %v", l.calls.Load(), problem)
	require.Zero(t, logs.Count(breakerChanged), logs)
	require.Equal(t, "closed", dependency.Status().Breaker)
}

// TestADeployWithoutADrainOpensTheBreaker is the control: the same breaker notices
// when replicas are stopped and not drained.
func TestADeployWithoutADrainOpensTheBreaker(t *testing.T) {
	f := newFleet(t, 3, WithSabotage(NoDrain))
	dependency, logs := jumpy(t)
	l := steady(f, dependency)
	eventually(t, func() bool { return l.calls.Load() > 100 }, "load")
	for _, old := range f.replicas() {
		_, err := f.replace(old)
		require.ErrorIs(t, err, errForced)
	}
	eventually(t, func() bool { return logs.Count(breakerOpened) > 0 }, "the breaker opens")
	failures, _ := l.end()
	require.Positive(t, failures, "of %d calls", l.calls.Load())
}

// elsewhere has a caller try another replica at once.
var elsewhere = apierror.WithRetryAfter(time.Millisecond)

// startRefusing is a load on a fleet whose replicas refuse calls before they leave:
// another one answers each, and nobody above sees a failure.
func startRefusing(t *testing.T) (*fleet, *load, *resilience.Dependency, *logtest.Buffer) {
	t.Helper()
	f := newFleet(t, 3)
	dependency, logs := jumpy(t, func(c *resilience.Config) {
		c.MaxAttempts, c.RetryRatio, c.Backoff = 10, 1, time.Millisecond
	})
	return f, steady(f, dependency), dependency, logs
}

// TestAReplicaThatSaysItLeavesTripsNoBreaker: what it refuses is told by its
// reason from what it fails to do.
func TestAReplicaThatSaysItLeavesTripsNoBreaker(t *testing.T) {
	f, l, dependency, logs := startRefusing(t)
	requireUnharmed(t, f, l, dependency, logs, func(old *replica) {
		old.shop.refuse.Store(apierror.New(apierror.ReasonDraining, "leaving", elsewhere))
		eventually(t, func() bool { return old.shop.refused.Load() > 20 }, "it refuses what comes")
	})
}

// TestAReplicaThatLeavesWithoutAWordOpensTheBreaker is its control: the same
// answer, UNAVAILABLE, without the reason.
func TestAReplicaThatLeavesWithoutAWordOpensTheBreaker(t *testing.T) {
	f, l, _, logs := startRefusing(t)
	f.replicas()[0].shop.refuse.Store(apierror.New(apierror.ReasonDependencyUnavailable, "no", elsewhere))
	eventually(t, func() bool { return logs.Count(breakerOpened) > 0 }, "the breaker opens")
	_, _ = l.end()
}
