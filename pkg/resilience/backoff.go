package resilience

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// pause draws how long to wait before attempt n+1: between zero and a bound that
// doubles ("full jitter": Brooker, Exponential Backoff and Jitter, AWS 2015).
// What the server asked for is the least, and jitter comes on top of it: those
// it sent away together must not come back together.
func (c Config) pause(n int, after time.Duration) time.Duration {
	bound := c.MaxBackoff
	if n <= 16 { // no overflow
		bound = min(bound, c.Backoff<<(n-1))
	}
	return after + rand.N(bound+1)
}

// fits reports whether an attempt after the pause could still end before the
// deadline. Waiting for what cannot succeed keeps the caller, and the
// dependency, from something better.
func fits(deadline time.Time, pause, typical time.Duration) bool {
	return deadline.IsZero() || time.Until(deadline) > pause+typical
}

// sleep waits, and reports whether it waited to the end.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// latency is a moving average of how long a method takes when it works.
type latency struct{ nanos atomic.Int64 }

// observe weighs a new value with an eighth, as TCP does its round trips (RFC
// 6298). A lost update does not matter.
func (l *latency) observe(took time.Duration) {
	old := l.nanos.Load()
	if old == 0 {
		l.nanos.Store(int64(took))
		return
	}
	l.nanos.Store(old + (int64(took)-old)/8)
}

func (l *latency) typical() time.Duration { return time.Duration(l.nanos.Load()) }
