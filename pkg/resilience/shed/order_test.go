package shed

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fixed is a shedder with a limit that does not move.
func fixed(t *testing.T, limit int) *Shedder {
	t.Helper()
	return newTest(t, Config{Enabled: true, Min: limit, Initial: limit, Max: limit, MaxWait: 100 * time.Millisecond})
}

// mustEnter lets in a call for which there is room.
func (s *Shedder) mustEnter(t *testing.T, method string) *call {
	t.Helper()
	c, err := s.enter(t.Context(), s.methods[method])
	require.NoError(t, err)
	return c
}

// fill takes all room there is, with the most critical calls.
func (s *Shedder) fill(t *testing.T) []*call {
	t.Helper()
	var calls []*call
	for range s.read().limit {
		calls = append(calls, s.mustEnter(t, criticalPlus))
	}
	return calls
}

// attempt starts a call that may have to wait; in a bubble it is waiting, or
// over, when attempt returns.
type attempt struct {
	call *call
	err  error
	took time.Duration
	done chan struct{}
}

func (s *Shedder) attempt(ctx context.Context, method string) *attempt {
	a := &attempt{done: make(chan struct{})}
	began := time.Now()
	go func() { // ends when the wait does
		defer close(a.done)
		a.call, a.err = s.enter(ctx, s.methods[method])
		a.took = time.Since(began)
	}()
	synctest.Wait()
	return a
}

// over reports whether the attempt is decided.
func (a *attempt) over() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func TestRoomGoesToTheMostCriticalWhoeverCameFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 8)
		inside := s.fill(t)
		type kind struct {
			method  string
			attempt string
		}
		importance := []kind{
			{criticalPlus, "1"},
			{criticalPlus, "2"},
			{critical, "1"},
			{critical, "7"},
			{sheddablePlus, "1"},
			{sheddablePlus, "2"},
			{sheddable, "1"},
			{sheddable, "3"},
		}
		waiting := make([]*attempt, len(importance))
		for i := len(importance) - 1; i >= 0; i-- { // the least important comes first
			waiting[i] = s.attempt(asAttempt(t.Context(), importance[i].attempt), importance[i].method)
		}
		for next := 0; len(inside) > 0; { // one leaves after the other, those who waited too
			s.leave(inside[0], true)
			inside = inside[1:]
			synctest.Wait()
			if next < len(waiting) && waiting[next].over() {
				require.NoError(t, waiting[next].err)
				inside = append(inside, waiting[next].call)
				next++
			}
			for _, later := range waiting[next:] {
				require.False(t, later.over(), "%v is next", importance[next])
			}
		}
		require.True(t, s.empty(), "everybody was served")
	})
}

func TestTheLastPartOfTheLimitIsKeptForWhatIsCritical(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 10)
		calls := 0
		for _, step := range []struct {
			method string
			upTo   int
		}{{sheddable, 6}, {sheddablePlus, 8}, {critical, 9}, {criticalPlus, 10}} {
			for ; calls < step.upTo; calls++ {
				s.mustEnter(t, step.method)
			}
			a := s.attempt(t.Context(), step.method)
			require.False(t, a.over(), "%s has no more room", step.method)
			time.Sleep(s.cfg.MaxWait)
			synctest.Wait()
			requireShed(t, a.err)
		}
	})
}

func TestAFullQueueGivesUpTheLeastCritical(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		s.fill(t)
		first := s.attempt(t.Context(), sheddablePlus)
		second := s.attempt(t.Context(), sheddable)
		requireShed(t, s.attempt(t.Context(), sheddable).err) // no better than who waits
		require.False(t, second.over())

		third := s.attempt(t.Context(), critical)
		require.True(t, second.over(), "the least critical makes way")
		requireShed(t, second.err)
		fourth := s.attempt(t.Context(), criticalPlus)
		require.True(t, first.over(), "then the next")
		requireShed(t, first.err)
		require.False(t, third.over())
		require.False(t, fourth.over())
		require.EqualValues(t, 1, s.read().counts[0][shedOutranked])
		require.EqualValues(t, 1, s.read().counts[1][shedOutranked])
		require.EqualValues(t, 1, s.read().counts[0][shedFull])
		time.Sleep(time.Second)
	})
}

func TestARetryIsShedBeforeAFirstAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		s.fill(t)
		retries := []*attempt{s.attempt(asAttempt(t.Context(), "2"), critical), s.attempt(asAttempt(t.Context(), "3"), critical)}
		firsts := []*attempt{s.attempt(t.Context(), critical), s.attempt(asAttempt(t.Context(), "1"), critical)}
		for i := range 2 {
			require.True(t, retries[i].over(), "a first attempt takes its place")
			requireShed(t, retries[i].err)
			require.False(t, firsts[i].over())
		}
		require.EqualValues(t, 2, s.read().counts[2][shedOutranked])
		requireShed(t, s.attempt(asAttempt(t.Context(), "2"), critical).err)
		time.Sleep(time.Second)
	})
}

func TestWhatIsNotANumberIsAFirstAttempt(t *testing.T) {
	for value, retry := range map[string]bool{"": false, "0": false, "1": false, "2": true, "12": true, "-2": false, "two": false, "2.5": false} {
		require.Equal(t, retry, isRetry(asAttempt(t.Context(), value)), value)
	}
	require.False(t, isRetry(t.Context()), "it says nothing")
}

// TestABurstIsServedInOrderAndAnOverloadNewestFirst: newest first serves some
// callers soon, where in order all of them would wait for too long.
func TestABurstIsServedInOrderAndAnOverloadNewestFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 3)
		occupied := s.fill(t)
		first, second := s.attempt(t.Context(), criticalPlus), s.attempt(t.Context(), criticalPlus)
		s.leave(occupied[0], true)
		synctest.Wait()
		require.True(t, first.over(), "a burst is served in order")
		time.Sleep(60 * time.Millisecond)
		third := s.attempt(t.Context(), criticalPlus)
		time.Sleep(39 * time.Millisecond)
		fourth := s.attempt(t.Context(), criticalPlus)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		requireShed(t, second.err) // it has waited for as long as a call may
		fifth := s.attempt(t.Context(), criticalPlus)
		s.leave(occupied[1], true)
		synctest.Wait()
		require.True(t, fifth.over(), "the queue has not been empty for a tenth of a second")
		require.NoError(t, fifth.err)
		require.False(t, third.over())
		require.False(t, fourth.over())
		time.Sleep(time.Second)
	})
}

// TestTheLeastCriticalIsShedFirst: of four levels that each ask for the whole
// capacity, and retries beside first attempts.
func TestTheLeastCriticalIsShedFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, DefaultConfig())
		const workers, work, to = 20, 20 * time.Millisecond, 10 * time.Second
		kind := traffic{every: work / workers * 10 / 4, work: always(work), deadline: time.Second, to: to} // four tenths of the capacity
		var kinds []traffic
		for _, method := range []string{"sheddable", "sheddable_plus", "critical", "critical_plus"} {
			for _, retry := range []bool{false, true} {
				kind.method, kind.retry = method, retry
				kinds = append(kinds, kind)
			}
		}
		all := simulate(t, shedderDoor{s}, newWorkers(workers), kinds...)
		served, sent := map[string]float64{}, map[string]float64{}
		for _, a := range all {
			name := a.method
			if a.retry {
				name += " again"
			}
			if a.sent > 2*time.Second {
				sent[name]++
				if a.ok {
					served[name]++
				}
			}
		}
		for name := range sent {
			served[name] /= sent[name]
		}
		t.Logf("served: %v", served)
		require.Greater(t, served["critical_plus"], 0.98)
		require.Greater(t, served["critical_plus again"], 0.95)
		require.InDelta(t, 0.5, served["critical"], 0.1, "a fifth of the capacity is left for four tenths")
		for name := range sent {
			if name == "critical again" || name[0] == 's' {
				require.Less(t, served[name], 0.05, name)
			}
		}
	})
}
