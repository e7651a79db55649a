package health

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Hysteresis: one lost packet is not an outage, one lucky one is no recovery.
const (
	failuresUntilDown = 3
	successesUntilUp  = 2
)

// missedUntilStale is how many intervals old an answer may be before it counts
// for nothing.
const missedUntilStale = 4

// Dependency is something outside that this process needs.
type Dependency struct {
	// Name is how it appears: `postgres`, and "dependency/postgres" over gRPC.
	Name string
	// Check returns nil if it answers. It must end when ctx does.
	Check func(ctx context.Context) error
	// Interval is between checks, give or take a tenth; 5 s if zero.
	Interval time.Duration
	// Timeout bounds one check; 2 s if zero.
	Timeout time.Duration
}

// watched is what is known about a dependency. The lock of Health guards it.
type watched struct {
	dependency Dependency
	known      bool // it was checked at least once
	serving    bool
	streak     int // checks in a row that disagree with serving
	since      time.Time
	checked    time.Time
	problem    string // of the last check
}

// up reports whether the dependency is known to answer, by a check that is not
// too old.
func (w *watched) up(now time.Time) bool { return w.known && w.serving && !w.stale(now) }

func (w *watched) stale(now time.Time) bool {
	return now.Sub(w.checked) > missedUntilStale*w.dependency.Interval+w.dependency.Timeout
}

// record takes in one check and reports whether it turned the answer over. The
// first check is believed at once.
func (w *watched) record(now time.Time, err error) (turned bool) {
	w.checked, w.problem = now, ""
	if err != nil {
		w.problem = err.Error()
	}
	serving := err == nil
	if !w.known {
		w.known, w.serving, w.since = true, serving, now
		return true
	}
	if serving == w.serving {
		w.streak = 0
		return false
	}
	w.streak++
	needed := failuresUntilDown
	if serving {
		needed = successesUntilUp
	}
	if w.streak < needed {
		return false
	}
	w.serving, w.streak, w.since = serving, 0, now
	return true
}

// Watch checks a dependency in the background until h is closed. What it finds
// is shown on /statusz, as the metric holdfast_dependency_up, and as the gRPC
// health name "dependency/<name>". It changes neither readiness nor liveness.
func (h *Health) Watch(dep Dependency) {
	dep.Interval = cmp.Or(dep.Interval, 5*time.Second)
	dep.Timeout = cmp.Or(dep.Timeout, 2*time.Second)
	w := &watched{dependency: dep}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
		return
	default:
	}
	h.dependencies[dep.Name] = w
	h.watchers.Go(func() { h.watch(w) })
}

func (h *Health) watch(w *watched) {
	dep := w.dependency
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.watchers.Go(func() { // a check that is under way ends when h is closed
		select {
		case <-h.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	for {
		err := check(ctx, dep)
		select {
		case <-h.closed:
			return // the check was cut short; it says nothing
		default:
		}
		h.learn(w, err)
		// Jitter: replicas that were started together do not ask together.
		pause := time.Duration(float64(dep.Interval) * (0.9 + 0.2*rand.Float64()))
		select {
		case <-h.closed:
			return
		case <-time.After(pause):
		}
	}
}

// check asks once, and makes an error of a panic: the check is a guest here.
func check(ctx context.Context, dep Dependency) (err error) {
	ctx, cancel := context.WithTimeout(ctx, dep.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("checking panicked: %v", p)
		}
	}()
	return dep.Check(ctx)
}

func (h *Health) learn(w *watched, err error) {
	var turned, up bool
	h.change("", func() {
		turned = w.record(h.now(), err)
		up = w.serving
	})
	switch {
	case turned && up:
		h.log.Info("a dependency answers", "dependency", w.dependency.Name)
	case turned:
		h.log.Warn("a dependency does not answer", "dependency", w.dependency.Name, "error", err)
	}
}

// cutDependency returns the name of the dependency in a gRPC health name.
func cutDependency(service string) (string, bool) {
	return strings.CutPrefix(service, "dependency/")
}
