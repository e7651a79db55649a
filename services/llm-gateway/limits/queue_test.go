package limits

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// waitsFor waits until so many wait.
func waitsFor(t *testing.T, q *Queue, count int) {
	t.Helper()
	require.Eventually(t, func() bool { _, waiting := q.Load(); return waiting == count }, 20*time.Second, time.Millisecond)
}

func entered(t *testing.T, q *Queue) func() {
	t.Helper()
	leave, _, err := q.Enter(t.Context())
	require.NoError(t, err)
	return leave
}

func TestWhoIsTooManyIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1, 1)
		leave := entered(t, q)
		time.Sleep(8 * time.Second)
		leave() // a turn takes 8 s
		leave = entered(t, q)
		done := make(chan struct{})
		go func() { defer close(done); entered(t, q)() }()
		synctest.Wait()
		began := time.Now()
		_, after, err := q.Enter(t.Context())
		require.ErrorIs(t, err, ErrQueueFull)
		require.Equal(t, 16*time.Second, after, "one waits, and then it takes a turn")
		require.Zero(t, time.Since(began))
		leave()
		<-done
	})
}

func TestWhoWouldWaitBeyondItsDeadlineIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(2, 10)
		first, second := entered(t, q), entered(t, q)
		hurried, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		waited := make(chan error)
		go func() { _, _, err := q.Enter(hurried); waited <- err }()
		require.ErrorIs(t, <-waited, context.DeadlineExceeded, "before the first turn has ended nobody knows better")
		time.Sleep(5 * time.Second)
		first() // 8 s
		second()
		first, second = entered(t, q), entered(t, q)
		began := time.Now()
		soon, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, after, err := q.Enter(soon)
		require.ErrorIs(t, err, ErrHopeless)
		require.Equal(t, 4*time.Second, after, "two at once: one ends every 4 s")
		require.Zero(t, time.Since(began))
		later, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go func() { leave, _, err := q.Enter(later); leave(); waited <- err }()
		time.Sleep(time.Second)
		first()
		require.NoError(t, <-waited)
		second()
	})
}

func TestTurnsAreInTheOrderOfComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1, 10)
		leave := entered(t, q)
		order := make(chan int, 10)
		var all sync.WaitGroup
		defer all.Wait()
		for i := range 10 {
			all.Go(func() {
				mine := entered(t, q)
				order <- i
				time.Sleep(time.Second)
				mine()
			})
			synctest.Wait()
		}
		leave()
		for i := range 10 {
			require.Equal(t, i, <-order)
		}
	})
}

func TestWhoGivesUpLeavesItsPlaceToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1, 10)
		leave := entered(t, q)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, _, err := q.Enter(ctx); gone <- err }()
		synctest.Wait()
		next := make(chan struct{})
		go func() { defer close(next); entered(t, q)() }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled)
		leave()
		<-next
		_, _, err := q.Enter(ctx)
		require.ErrorIs(t, err, context.Canceled, "who has gone does not get in, even where there is room")
	})
}

// TestATurnThatComesAsItsCallerGivesUpIsTheNextOnes has both at once, again and
// again.
func TestATurnThatComesAsItsCallerGivesUpIsTheNextOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1, 2)
		for range 100 {
			leave := entered(t, q)
			ctx, cancel := context.WithCancel(t.Context())
			var both sync.WaitGroup
			both.Go(func() {
				if leave, _, err := q.Enter(ctx); err == nil {
					leave()
				}
			})
			synctest.Wait()
			both.Go(func() { entered(t, q)() })
			synctest.Wait()
			cancel()
			leave() // before the one that gave up has left the queue, mostly
			both.Wait()
			running, waiting := q.Load()
			require.Equal(t, [2]int{0, 0}, [2]int{running, waiting})
		}
	})
}

func TestLeavingTwiceIsLeavingOnce(t *testing.T) {
	q := NewQueue(2, 0)
	leave := entered(t, q)
	entered(t, q)
	leave()
	leave()
	entered(t, q)
	_, _, err := q.Enter(t.Context())
	require.ErrorIs(t, err, ErrQueueFull)
}

func TestALargerQueueLetsInWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1, 5)
		entered(t, q)
		var in sync.WaitGroup
		for range 3 {
			in.Go(func() { entered(t, q) })
		}
		synctest.Wait()
		q.Resize(4, 5)
		in.Wait()
		running, waiting := q.Load()
		require.Equal(t, [2]int{4, 0}, [2]int{running, waiting})
	})
}

// TestNeverMoreAtOnceThanMayAndNoTurnIsLost has callers come, wait, give up and
// leave in any order.
func TestNeverMoreAtOnceThanMayAndNoTurnIsLost(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		concurrent, queued := rapid.IntRange(1, 4).Draw(t, "concurrent"), rapid.IntRange(0, 4).Draw(t, "queued")
		type caller struct{ comes, stays, patience time.Duration }
		callers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) caller {
			draw := func(name string, most int) time.Duration {
				return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Millisecond
			}
			return caller{draw("comes", 50), draw("stays", 20), draw("patience", 40)}
		}), 1, 30).Draw(t, "callers")
		var problem error
		synctest.Test(outer, func(*testing.T) {
			q := NewQueue(concurrent, queued)
			var mu sync.Mutex
			in := 0
			report := func(err error) { mu.Lock(); problem = errors.Join(problem, err); mu.Unlock() }
			var all sync.WaitGroup
			for _, c := range callers {
				all.Go(func() {
					time.Sleep(c.comes)
					ctx, cancel := context.WithTimeout(context.Background(), c.patience) // of the bubble, whose clock it goes by
					defer cancel()
					leave, _, err := q.Enter(ctx)
					if err != nil {
						return
					}
					mu.Lock()
					in++
					over := in > concurrent
					mu.Unlock()
					if _, waiting := q.Load(); over || waiting > queued {
						report(errors.New("more than may"))
					}
					time.Sleep(c.stays)
					mu.Lock()
					in--
					mu.Unlock()
					leave()
				})
			}
			all.Wait()
			if running, waiting := q.Load(); running != 0 || waiting != 0 {
				report(errors.New("a turn was lost"))
			}
		})
		require.NoError(t, problem)
	})
}
