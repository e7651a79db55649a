package shed

import (
	"context"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/priority"
	"github.com/stretchr/testify/require"
)

// The platform composes failsafe-go wherever it can. Its adaptive limiter with
// priorities is not used here, and these tests keep the reason: they give it the
// same server, the same traffic, the caller's context, and permits that are
// dropped for what was cut short; with its defaults, tuned to react as quickly as
// ours, and with a wait as long as the callers'. If this fails after an update,
// it has become better: measure again, and use it if it will do.

// failsafeDoor is failsafe-go's priority limiter as a door.
type failsafeDoor struct {
	limiter adaptivelimiter.PriorityLimiter[any]
	maxWait time.Duration
}

func newFailsafe(t *testing.T, cfg Config, maxWait time.Duration, tuned bool) door {
	prioritizer := adaptivelimiter.NewPrioritizer()
	t.Cleanup(prioritizer.ScheduleCalibrations(t.Context(), 100*time.Millisecond))
	b := adaptivelimiter.NewBuilder[any]().WithLimits(uint(cfg.Min), uint(cfg.Max), uint(cfg.Initial))
	if tuned {
		b.WithRecentWindow(window, time.Second, windowSize).WithQueueing(1, 2)
	}
	return failsafeDoor{b.BuildPrioritized(prioritizer), maxWait}
}

func (f failsafeDoor) enter(ctx context.Context, method string, _ bool) (context.Context, func(bool), error) {
	p := priority.Priority(levelOf(simulated[method]))
	permit, err := f.limiter.AcquirePermitWithMaxWait(priority.ContextWithLevel(ctx, p.RandomLevel()), f.maxWait)
	if err != nil {
		return nil, nil, err
	}
	return ctx, func(whole bool) {
		if whole {
			permit.Record()
		} else {
			permit.Drop()
		}
	}, nil
}

func TestFailsafesLimiterDoesNotKeepCriticalGoodput(t *testing.T) {
	variants := []struct {
		name    string
		maxWait time.Duration
		tuned   bool
		worst   float64
	}{
		{"failsafe", small.MaxWait, false, 1},
		{"failsafe tuned", small.MaxWait, true, 1},
		{"failsafe patient", time.Second, false, 1},
		{"failsafe tuned and patient", time.Second, true, 1},
	}
	for _, s := range servers {
		with := func(name string, build func(*testing.T) door) kept {
			k := measureKept(t, s.workers, s.work, build)
			t.Logf("%-45s %-26s alone %.2f, in a flood %.2f", s.name, name, k.alone, k.flooded)
			return k
		}
		none := with("nothing", func(*testing.T) door { return open{} })
		require.Less(t, none.alone, 0.2, "the control: without shedding it collapses")
		require.Less(t, none.flooded, 0.2, "the control: without shedding it collapses")
		ours := with("ours", func(t *testing.T) door { return shedderDoor{newSimulated(t, s.cfg)} })
		require.Greater(t, ours.alone, 0.97)
		require.Greater(t, ours.flooded, 0.97)
		for i := range variants {
			v := &variants[i]
			k := with(v.name, func(t *testing.T) door { return newFailsafe(t, s.cfg, v.maxWait, v.tuned) })
			v.worst = min(v.worst, k.alone, k.flooded)
		}
	}
	for _, v := range variants {
		require.Less(t, v.worst, 0.7, "%s: its queue is first come first served", v.name)
	}
}
