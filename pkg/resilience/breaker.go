package resilience

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// breaker is a circuit breaker (Nygard, Release It!) with failsafe-go's window,
// thresholds and transitions:
//
//	closed ──rate of failures──▶ open ──time──▶ half-open ──all probes succeed──▶ closed
//	                              ▲                 └────────a probe fails───▶ open
//
// On top of it stand what a breaker needs that is shared by calls that end in
// every possible way. A permit must be settled, and may be settled as neither
// success nor failure; a probe that is given back so, or by a panic, makes room
// for another. And an outcome counts only in the state in which its call began:
// a burst of late failures must not re-open what has just been probed.
type breaker struct {
	circuit    circuitbreaker.CircuitBreaker[any]
	maxProbes  int
	slow       time.Duration // 0: no call is slow
	forced     atomic.Int32  // a mode
	generation atomic.Uint64 // counts changes of state

	mu     sync.Mutex // held while leaving the open state, and for probes
	probes int        // in flight
}

// mode is what the breaker was told by an operator.
type mode int32

const (
	automatic    mode = iota
	forcedOpen        // nothing passes
	forcedClosed      // everything passes, and nothing is counted
)

var modes = map[mode]string{automatic: "automatic", forcedOpen: "forced_open", forcedClosed: "forced_closed"}

func (m mode) String() string { return modes[m] }

func newBreaker(cfg Config, changed func(from, to string)) *breaker {
	b := &breaker{maxProbes: int(cfg.BreakerProbes), slow: cfg.BreakerSlow}
	b.circuit = circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(cfg.BreakerRate, cfg.BreakerMinCalls, cfg.BreakerWindow).
		WithSuccessThreshold(cfg.BreakerProbes).
		WithDelay(cfg.BreakerOpenFor).
		WithJitterFactor(0.2). // breakers that opened together must not probe together
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			b.generation.Add(1)
			changed(e.OldState.String(), e.NewState.String())
		}).
		Build()
	return b
}

// permit is the right to make one call. It must be settled.
type permit struct {
	generation uint64
	counts     bool // false: nothing is recorded
	probe      bool
}

// acquire returns a permit, or false and how long the breaker stays open.
func (b *breaker) acquire() (permit, time.Duration, bool) {
	switch mode(b.forced.Load()) {
	case forcedOpen:
		return permit{}, 0, false
	case forcedClosed:
		return permit{}, 0, true
	}
	generation := b.generation.Load()
	if b.circuit.State() == circuitbreaker.ClosedState {
		return permit{generation: generation, counts: true}, 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.circuit.State() {
	case circuitbreaker.OpenState:
		if left := b.circuit.RemainingDelay(); left > 0 {
			return permit{}, left, false
		}
		b.probes = 0
		b.circuit.HalfOpen()
	case circuitbreaker.ClosedState: // closed meanwhile
		return permit{generation: b.generation.Load(), counts: true}, 0, true
	}
	if b.probes >= b.maxProbes {
		return permit{}, 0, false
	}
	b.probes++
	return permit{generation: b.generation.Load(), counts: true, probe: true}, 0, true
}

// settle gives the permit back with what became of its call.
func (b *breaker) settle(p permit, h Health, took time.Duration) {
	if !p.counts {
		return
	}
	if b.slow > 0 && took > b.slow {
		h = Failing
	}
	current := p.generation == b.generation.Load()
	if p.probe && current {
		b.mu.Lock()
		if p.generation == b.generation.Load() {
			b.probes--
		}
		b.mu.Unlock()
	}
	if !current {
		return
	}
	switch h {
	case Healthy:
		b.circuit.RecordSuccess()
	case Failing:
		b.circuit.RecordFailure()
	case Neutral:
	}
}

// force sets the mode.
func (b *breaker) force(m mode) { b.forced.Store(int32(m)) }

// state is the state as people and metrics see it: "closed", "open",
// "half-open", "forced_open" or "forced_closed".
func (b *breaker) state() string {
	if m := mode(b.forced.Load()); m != automatic {
		return m.String()
	}
	return b.circuit.State().String()
}
