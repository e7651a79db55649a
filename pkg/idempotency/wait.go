package idempotency

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces the looks of a duplicate for the first arrival's answer. No
// connection is held in between.
type backoff struct {
	until time.Time
	limit time.Duration
	step  time.Duration
}

const (
	firstLook = 2 * time.Millisecond
	slowLook  = 100 * time.Millisecond
)

func newBackoff(limit time.Duration) backoff { return backoff{limit: limit} }

// next waits, and returns false when there is no time left to look again. The
// clock starts with the first wait.
func (b *backoff) next(ctx context.Context) bool {
	now := time.Now()
	if b.step == 0 {
		b.until, b.step = now.Add(b.limit), firstLook
	}
	pause := b.step/2 + rand.N(b.step)
	b.step = min(2*b.step, slowLook)
	if now.Add(pause).After(b.until) {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && now.Add(pause).After(deadline) {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
