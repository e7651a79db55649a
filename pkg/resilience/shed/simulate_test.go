package shed

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// A simulation runs in the false time of a synctest bubble: it takes as long as
// the arithmetic takes, and its machine is never busy. Which of two things that
// are due at one instant comes first is left to the scheduler, so no two ends
// are quite alike.

// door is what stands before the simulated server: a Shedder, or what it is
// compared with.
type door interface {
	// enter returns how to leave, or an error.
	enter(ctx context.Context, method string, retry bool) (context.Context, func(whole bool), error)
}

// open lets everybody in: the control.
type open struct{}

func (open) enter(ctx context.Context, _ string, _ bool) (context.Context, func(bool), error) {
	return ctx, func(bool) {}, nil
}

// workers is a server of known capacity: so many workers, first come first
// served. What has begun to wait is worked on even if nobody waits for it any
// more, as a server does that has read a request.
type workers struct{ free chan struct{} }

func newWorkers(n int) *workers { return &workers{make(chan struct{}, n)} }

func (w *workers) work(d time.Duration) {
	w.free <- struct{}{}
	time.Sleep(d)
	<-w.free
}

// traffic is one kind of call.
type traffic struct {
	method   string
	every    time.Duration // between two calls
	work     func(since time.Duration) time.Duration
	outside  func(since time.Duration) time.Duration // time spent waiting for another service
	deadline time.Duration
	retry    bool
	from, to time.Duration // of the simulation
}

// answer is one call that was sent.
type answer struct {
	method string
	retry  bool
	sent   time.Duration // since the beginning
	took   time.Duration
	ok     bool // answered within its deadline
	shed   bool
	late   time.Duration // how long after its time it was sent
}

type answers []answer

// simulate sends all traffic to a server behind a door, and returns when every
// call is over.
func simulate(t *testing.T, d door, server *workers, all ...traffic) answers {
	t.Helper()
	began := time.Now()
	var (
		mu     sync.Mutex
		got    answers
		sender sync.WaitGroup
		calls  sync.WaitGroup
	)
	for _, kind := range all {
		sender.Go(func() {
			time.Sleep(kind.from)
			tick := time.NewTicker(kind.every)
			defer tick.Stop()
			for time.Since(began) < kind.to {
				<-tick.C
				calls.Go(func() {
					a := answer{method: kind.method, retry: kind.retry, sent: time.Since(began)}
					ctx, cancel := context.WithTimeout(t.Context(), kind.deadline)
					defer cancel()
					inside, leave, err := d.enter(ctx, kind.method, kind.retry)
					if err == nil {
						if kind.outside != nil {
							back := Outside(inside)
							time.Sleep(kind.outside(a.sent))
							back()
						}
						server.work(kind.work(a.sent))
						leave(ctx.Err() == nil)
					}
					a.took = time.Since(began) - a.sent
					a.shed, a.ok = err != nil, err == nil && ctx.Err() == nil
					mu.Lock()
					got = append(got, a)
					mu.Unlock()
				})
			}
		})
	}
	sender.Wait()
	calls.Wait()
	return got
}

// goodput is how many calls a second of a method, sent in a part of the
// simulation, were answered in time.
func (all answers) goodput(method string, from, to time.Duration) float64 {
	n := 0
	for _, a := range all {
		if a.method == method && a.ok && a.sent >= from && a.sent < to {
			n++
		}
	}
	return float64(n) / (to - from).Seconds()
}

// slowest is the time that the given share of the answered calls did not exceed.
func (all answers) slowest(method string, share float64, from, to time.Duration) time.Duration {
	var times []time.Duration
	for _, a := range all {
		if a.method == method && a.ok && a.sent >= from && a.sent < to {
			times = append(times, a.took)
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(int(share*float64(len(times))), len(times)-1)]
}

// Methods of the simulated server, named after how critical they are.
var simulated = map[string]policyv1.Criticality{
	"sheddable":      policyv1.Criticality_CRITICALITY_SHEDDABLE,
	"sheddable_plus": policyv1.Criticality_CRITICALITY_SHEDDABLE_PLUS,
	"critical":       policyv1.Criticality_CRITICALITY_CRITICAL,
	"critical_plus":  policyv1.Criticality_CRITICALITY_CRITICAL_PLUS,
}

// shedderDoor is a Shedder as a door.
type shedderDoor struct{ *Shedder }

func (s shedderDoor) enter(ctx context.Context, method string, retry bool) (context.Context, func(bool), error) {
	if retry {
		ctx = asAttempt(ctx, "2")
	}
	c, err := s.Shedder.enter(ctx, s.methods[method])
	if err != nil {
		return nil, nil, err
	}
	return c, func(whole bool) { s.leave(c, whole) }, nil
}

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// bubble runs f in false time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// newSimulated is a shedder for the simulated methods.
func newSimulated(t *testing.T, cfg Config) *Shedder {
	t.Helper()
	s := newShedder(cfg, discard)
	for name, criticality := range simulated {
		s.methods[name] = &method{level: levelOf(criticality)}
	}
	t.Cleanup(s.Close)
	return s
}
