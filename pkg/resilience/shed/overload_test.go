//go:build overload

package shed

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

// These tests measure real time, so that they want a machine of their own: `make
// overload`. The server has a capacity that is known, and that no machine is
// too slow for: 4 workers that sleep for 80 ms make 50 calls a second. They
// serve in order of arrival and finish what they began, as real work does.
// Callers wait for a second.
const (
	crew     = 4
	task     = 80 * time.Millisecond
	interval = task / crew // between two calls at capacity
	patience = time.Second
	slice    = 500 * time.Millisecond // goodput is measured in slices, and the median taken
)

func crewWorker() worker {
	free := make(chan struct{}, crew)
	over := make(chan struct{}) // nobody waits for the backlog when the test is over
	return worker{
		work: func(context.Context) error {
			select {
			case free <- struct{}{}:
			case <-over:
				return nil
			}
			defer func() { <-free }()
			select {
			case <-time.After(task):
			case <-over:
			}
			return nil
		},
		stop: func() { close(over) },
	}
}

// load is calls that are sent whatever becomes of those before (open loop).
type load struct {
	method   string
	every    time.Duration
	from, to time.Duration
}

// drive sends all loads and returns what became of the calls. If the machine was
// too busy to send them in time, what was measured is the machine, and all of it
// is done once more, three times at most.
func drive(t *testing.T, build func() *grpc.ClientConn, loads ...load) answers {
	t.Helper()
	for try := 1; ; try++ {
		all := driveOnce(t, build(), loads...)
		late := 0
		for _, a := range all {
			if a.late > task/4 {
				late++
			}
		}
		if late <= len(all)/50 {
			return all
		}
		t.Logf("%d of %d calls were sent late", late, len(all))
		if try == 3 {
			require.FailNow(t, "the machine is too busy to measure anything but itself")
		}
	}
}

// driveOnce sends each call at the time that is its own, even if the one before
// was late.
func driveOnce(t *testing.T, conn *grpc.ClientConn, loads ...load) answers {
	t.Helper()
	began := time.Now()
	var (
		mu      sync.Mutex
		got     answers
		senders sync.WaitGroup
		calls   sync.WaitGroup
	)
	for _, l := range loads {
		senders.Go(func() {
			for at := l.from; at < l.to; at += l.every {
				time.Sleep(at - time.Since(began))
				calls.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					sent := time.Now()
					err := invoke(ctx, conn, l.method)
					a := answer{method: l.method, sent: at, took: time.Since(sent), ok: err == nil, late: sent.Sub(began) - at}
					mu.Lock()
					defer mu.Unlock()
					got = append(got, a)
				})
			}
		})
	}
	senders.Wait()
	calls.Wait()
	return got
}

// median is the median goodput of a method in the slices of a phase.
func (all answers) median(method string, from, to time.Duration) float64 {
	var parts []float64
	for ; from < to; from += slice {
		parts = append(parts, all.goodput(method, from, from+slice))
	}
	slices.Sort(parts)
	return parts[len(parts)/2]
}

// Phases of a drive: as much as the server can do, five times as much, and less
// again.
const (
	calm      = 3 * time.Second
	overload  = 7 * time.Second
	afterward = 11 * time.Second
)

// figures are what a drive has shown of critical calls.
type figures struct {
	kept      float64       // goodput under overload, against that at capacity
	recovered float64       // goodput from two seconds after the overload, against what was sent
	slower    float64       // the time of the slowest tenth under overload, against that at capacity
	sheddable float64       // goodput of sheddable calls under overload, against what critical ones had at capacity
	before    time.Duration // for the log
	during    time.Duration
}

func figuresOf(all answers, sentAfterward float64) figures {
	f := figures{
		before: all.slowest(critical, 0.9, time.Second, calm),
		during: all.slowest(critical, 0.9, calm, overload),
	}
	capacity := all.median(critical, time.Second, calm)
	f.kept = all.median(critical, calm+time.Second, overload) / capacity
	f.sheddable = all.median(sheddable, calm+time.Second, overload) / capacity
	f.recovered = all.median(critical, overload+2*time.Second, afterward) / sentAfterward
	f.slower = float64(f.during) / float64(f.before)
	return f
}

// drown drives a server with critical calls alone.
func drown(t *testing.T, build func() *grpc.ClientConn) figures {
	t.Helper()
	const less = interval * 5 / 4
	all := drive(t, build,
		load{critical, interval, 0, calm},
		load{critical, interval / 5, calm, overload},
		load{critical, less, overload, afterward})
	f := figuresOf(all, float64(time.Second)/float64(less))
	t.Logf("critical alone: kept %.2f, recovered %.2f, slowest tenth %v, was %v", f.kept, f.recovered, f.during, f.before)
	return f
}

// flood drives a server with critical calls that it could serve, among sheddable
// ones that it could not.
func flood(t *testing.T, build func() *grpc.ClientConn) figures {
	t.Helper()
	const less = interval * 5 / 4 // four fifths of the capacity
	all := drive(t, build,
		load{critical, less, 0, afterward},
		load{sheddable, interval * 10 / 42, calm, overload}) // and 4.2 times it
	f := figuresOf(all, float64(time.Second)/float64(less))
	t.Logf("in a flood: kept %.2f, recovered %.2f, slowest tenth %v, was %v, sheddable %.2f", f.kept, f.recovered, f.during, f.before, f.sheddable)
	return f
}

// shedding returns how to build the server with shedding, and a function that
// looks at what is left in the end.
func shedding(t *testing.T) (build func() *grpc.ClientConn, finish func()) {
	var s *Shedder
	build = func() *grpc.ClientConn {
		s = newTest(t, small)
		return serve(t, s, crewWorker())
	}
	return build, func() {
		t.Logf("%+v", s.Report())
		eventually(t, s.empty, "nothing is left in flight")
	}
}

func TestOverTheWireCriticalGoodputSurvives(t *testing.T) {
	build, finish := shedding(t)
	f := drown(t, build)
	finish()
	require.GreaterOrEqual(t, f.kept, 0.9)
	require.GreaterOrEqual(t, f.recovered, 0.9, "two seconds later")
	require.LessOrEqual(t, f.slower, 5.0, "those that are served are served soon")
}

func TestOverTheWireAFloodOfSheddableCallsTouchesNothing(t *testing.T) {
	build, finish := shedding(t)
	f := flood(t, build)
	finish()
	require.GreaterOrEqual(t, f.kept, 0.9)
	require.GreaterOrEqual(t, f.recovered, 0.9, "two seconds later")
	require.LessOrEqual(t, f.slower, 5.0)
	require.Less(t, f.sheddable, 0.5, "they get what is left, a fifth of the capacity")
}

// TestOverTheWireWithoutSheddingGoodputCollapses is the control: the same without
// shedding.
func TestOverTheWireWithoutSheddingGoodputCollapses(t *testing.T) {
	t.Run("critical alone", func(t *testing.T) {
		t.Parallel()
		f := drown(t, func() *grpc.ClientConn { return serve(t, nil, crewWorker()) })
		require.Less(t, f.kept, 0.5)
		require.Less(t, f.recovered, 0.5, "it does not even recover soon: the backlog is worked on for nobody")
	})
	t.Run("in a flood", func(t *testing.T) {
		t.Parallel()
		f := flood(t, func() *grpc.ClientConn { return serve(t, nil, crewWorker()) })
		require.Less(t, f.kept, 0.5)
	})
}
