package shed

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

const known = 50 * time.Millisecond

// practised is a shedder that knows a method to take 50 ms.
func practised(t *testing.T) *Shedder {
	t.Helper()
	s := newTest(t, DefaultConfig())
	for range 50 {
		s.run(t, critical, known, nil)
	}
	require.InDelta(t, known, s.methods[critical].pace.calm, float64(time.Millisecond))
	return s
}

// run is one call that takes a while, through the interceptor's own steps.
func (s *Shedder) run(t *testing.T, method string, takes time.Duration, fails error) {
	t.Helper()
	c := s.mustEnter(t, method)
	time.Sleep(takes)
	s.leave(c, fails == nil)
}

func TestWhatIsQuickBecauseItFailedTeachesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := practised(t)
		before, limit := s.methods[critical].pace, s.limit.value
		for range 500 {
			s.run(t, critical, time.Microsecond, errors.New("not found"))
		}
		require.Equal(t, before, s.methods[critical].pace)
		require.Equal(t, limit, s.limit.value)
		require.Zero(t, s.limit.samples)
	})
}

func TestAHandlersErrorIsNoAnswerThatTeaches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTest(t, DefaultConfig())
		handle := func(err error) {
			_, got := UnaryServerInterceptor(s)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: critical},
				func(context.Context, any) (any, error) { return nil, err })
			require.Equal(t, err, got)
		}
		handle(errors.New("not found"))
		require.Zero(t, s.methods[critical].pace)
		handle(nil)
		require.NotZero(t, s.methods[critical].pace)
	})
}

func TestACancelledCallTeachesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := practised(t)
		before := s.methods[critical].pace
		for range 500 {
			ctx, cancel := context.WithCancel(t.Context())
			c, err := s.enter(ctx, s.methods[critical])
			require.NoError(t, err)
			cancel()
			s.leave(c, true) // a handler may have answered before it noticed
		}
		require.Equal(t, before, s.methods[critical].pace)
		require.Zero(t, s.limit.samples)
		require.True(t, s.empty())
	})
}

// TestWhatFailedTooLateTeachesThat: if all calls run out of time, the limit must
// fall, though none of them was answered.
func TestWhatFailedTooLateTeachesThat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := practised(t)
		before, limit := s.methods[critical].pace, s.limit.value
		for range 50 {
			s.run(t, critical, time.Second, context.DeadlineExceeded)
		}
		require.Less(t, s.limit.value, limit)
		require.Equal(t, before, s.methods[critical].pace, "how long a call takes, it does not tell")
	})
}

func TestOneCallOfAHundredTimesTheUsualLengthIsNoNewUsual(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := practised(t)
		s.run(t, critical, 100*known, nil)
		require.Less(t, s.methods[critical].pace.calm, float64(2*known))
	})
}

func TestTimeOutsideIsNotTheServersOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTest(t, DefaultConfig())
		c := s.mustEnter(t, critical)
		time.Sleep(known)
		func() { // overlapping, and one inside another's context
			inner, cancel := context.WithCancel(c)
			defer cancel()
			first, second := Outside(inner), Outside(c)
			time.Sleep(time.Second)
			first()
			time.Sleep(time.Second)
			second()
		}()
		back := Outside(c)
		time.Sleep(time.Second)
		back()
		s.leave(c, true)
		require.InDelta(t, known, s.methods[critical].pace.calm, float64(time.Microsecond))
		require.InDelta(t, known+3*time.Second, s.methods[critical].pace.typical, float64(time.Microsecond), "a deadline must cover it all the same")
		Outside(t.Context())() // outside of a call it does nothing
	})
}

// TestWhoWaitsOutsideHasNoPlace: however many calls wait for a dependency, those
// that need none of it are let in; and every place is given back, in whichever
// order waits and calls end.
func TestWhoWaitsOutsideHasNoPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Min, cfg.Initial, cfg.Max, cfg.MaxWait = 2, 2, 2, 0
		s := newTest(t, cfg)
		var waiting []*call
		var backs []func()
		for range 20 {
			c, err := s.enter(t.Context(), s.methods[critical])
			require.NoError(t, err)
			waiting, backs = append(waiting, c), append(backs, Outside(c))
		}
		require.Zero(t, s.Report().InFlight)
		for _, back := range backs[:10] {
			back()
		}
		require.Equal(t, 10, s.Report().InFlight, "nobody is refused who comes back")
		_, err := s.enter(t.Context(), s.methods[critical])
		requireShed(t, err)
		for _, c := range waiting { // ten of them while they still wait
			s.leave(c, true)
		}
		for _, back := range backs[10:] {
			back() // too late: the call is over
		}
		require.True(t, s.empty())
	})
}

func TestTheClientsInterceptorTellsTimeOutside(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTest(t, DefaultConfig())
		c := s.mustEnter(t, critical)
		failed := errors.New("failed")
		require.ErrorIs(t, UnaryClientInterceptor()(c, "/x/Y", nil, nil, nil, slowInvoker(failed)), failed)
		s.leave(c, true)
		require.LessOrEqual(t, s.methods[critical].pace.calm, float64(time.Microsecond))
	})
}

// TestASlowDependencyDoesNotShrinkTheLimit: calls that wait two seconds for
// another service, among calls that need none.
func TestASlowDependencyDoesNotShrinkTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, DefaultConfig())
		slow := func(since time.Duration) time.Duration {
			if since > 10*time.Second && since < 30*time.Second {
				return 2 * time.Second
			}
			return 30 * time.Millisecond
		}
		const work = 10 * time.Millisecond
		all := simulate(t, shedderDoor{s}, newWorkers(20),
			traffic{method: "critical", every: 25 * time.Millisecond, work: always(work), outside: slow, deadline: 5 * time.Second, to: 40 * time.Second},
			traffic{method: "critical_plus", every: 5 * time.Millisecond, work: always(work), deadline: time.Second, to: 40 * time.Second})
		for _, a := range all {
			require.True(t, a.ok, "%v", a)
		}
	})
}

// TestADependencyThatNobodyToldOfDoesNotShrinkTheLimitForLong: it looks like
// an overload, so the limit falls to the floor; there it is learned that calls
// take this long.
func TestADependencyThatNobodyToldOfDoesNotShrinkTheLimitForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, DefaultConfig())
		slow := func(since time.Duration) time.Duration {
			if since > 10*time.Second {
				return 500 * time.Millisecond
			}
			return 20 * time.Millisecond
		}
		all := simulate(t, shedderDoor{s}, newWorkers(1000), // nothing is short but time
			traffic{method: "critical", every: 10 * time.Millisecond, work: slow, deadline: 2 * time.Second, to: 40 * time.Second})
		require.Greater(t, all.goodput("critical", 10*time.Second, 15*time.Second), 25.0, "the floor is 16, which is 32 a second")
		require.Greater(t, all.goodput("critical", 25*time.Second, 40*time.Second), 97.0, "all of it is served again")
	})
}

func TestTrafficThatShiftsToASlowMethodIsNoOverload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, DefaultConfig())
		const to = 20 * time.Second
		all := simulate(t, shedderDoor{s}, newWorkers(1000),
			traffic{method: "critical_plus", every: time.Millisecond, work: always(time.Millisecond), deadline: time.Second, to: to / 2},
			traffic{method: "critical_plus", every: 100 * time.Millisecond, work: always(time.Millisecond), deadline: time.Second, from: to / 2, to: to},
			traffic{method: "critical", every: 100 * time.Millisecond, work: always(300 * time.Millisecond), deadline: time.Second, to: to / 2},
			traffic{method: "critical", every: 10 * time.Millisecond, work: always(300 * time.Millisecond), deadline: time.Second, from: to / 2, to: to})
		require.Greater(t, all.goodput("critical", 3*to/4, to), 97.0)
		synctest.Wait()
		require.Greater(t, s.read().limit, s.cfg.Initial)
	})
}
