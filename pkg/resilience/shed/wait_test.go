package shed

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestAWaitIsShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 1)
		s.fill(t)
		a := s.attempt(t.Context(), critical)
		<-a.done
		requireShed(t, a.err)
		require.Equal(t, s.cfg.MaxWait, a.took)
		require.EqualValues(t, 1, s.read().counts[2][shedWait])
		require.Zero(t, s.read().queued)
	})
}

func TestAWaitNeverOutlivesItsDeadline(t *testing.T) {
	const left = 60 * time.Millisecond
	for _, c := range []struct {
		name    string
		typical time.Duration // of the method
		waits   time.Duration
	}{
		{"a method that nothing is known of", 0, left},
		{"a method that takes a third of what is left", left / 3, left * 2 / 3},
		{"a method that takes all of what is left", left, 0},
		{"a method that takes longer", time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := fixed(t, 1)
				s.fill(t)
				s.methods[critical].pace.typical = float64(c.typical)
				ctx, cancel := context.WithTimeout(t.Context(), left)
				defer cancel()
				a := s.attempt(ctx, critical)
				<-a.done
				requireShed(t, a.err)
				require.InDelta(t, c.waits, a.took, float64(time.Microsecond), "what is left when it ends is enough for the work")
				require.EqualValues(t, 1, s.read().counts[2][shedDeadline])
				require.Zero(t, s.read().queued)
			})
		})
	}
}

func TestWithoutAWaitCallsAreRefusedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTest(t, Config{Enabled: true, Min: 1, Initial: 1, Max: 1})
		s.fill(t)
		a := s.attempt(t.Context(), criticalPlus)
		require.True(t, a.over())
		requireShed(t, a.err)
	})
}

// TestTheRefusedDoNotComeBackTogether: RetryInfo differs.
func TestTheRefusedDoNotComeBackTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newTest(t, Config{Enabled: true, Min: 1, Initial: 1, Max: 1})
		s.fill(t)
		told := map[time.Duration]bool{}
		for range 100 {
			err := s.attempt(t.Context(), criticalPlus).err
			requireShed(t, err)
			told[apierror.From(err).RetryAfter()] = true
		}
		require.Greater(t, len(told), 90)
	})
}

func TestAShortDeadlineIsLetInWhereThereIsRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 1)
		s.methods[critical].pace.typical = float64(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		c, err := s.enter(ctx, s.methods[critical])
		require.NoError(t, err, "what is typical is no prophecy, and nobody else wants the place")
		s.leave(c, true)
	})
}

func TestWhoLeavesWhileWaitingIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 1)
		inside := s.fill(t)
		ctx, cancel := context.WithCancel(t.Context())
		a := s.attempt(ctx, critical)
		require.Equal(t, 1, s.read().queued)
		cancel()
		synctest.Wait()
		require.True(t, a.over())
		require.ErrorIs(t, a.err, context.Canceled, "nobody was refused")
		require.Zero(t, s.read().queued)
		require.False(t, s.read().shedding)
		require.EqualValues(t, 1, s.read().counts[2][shedGone])
		s.leave(inside[0], true)
		require.True(t, s.empty())
	})
}

// TestATurnThatComesTooLateIsPassedOn: a caller leaves in the moment in which
// its turn comes.
func TestATurnThatComesTooLateIsPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		inside := s.fill(t)
		for range 100 { // which of the two a select sees is chance
			ctx, cancel := context.WithCancel(t.Context())
			gone, next := s.attempt(ctx, critical), s.attempt(t.Context(), critical)
			cancel()
			s.leave(inside[0], true) // the waiting goroutine has not run in between
			<-gone.done
			<-next.done
			require.ErrorIs(t, gone.err, context.Canceled)
			require.NoError(t, next.err, "the place went to the next")
			inside[0] = next.call
		}
		s.leave(inside[0], true)
		s.leave(inside[1], true)
		require.True(t, s.empty())
	})
}
