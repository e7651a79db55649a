package resilience

import (
	"context"
	"time"
)

// call is one call of a dependency, with all its attempts.
type call struct {
	*Dependency
	method   *method
	deadline time.Time // zero: none
	chain    *Chain    // of the request that is being served; nil outside of one
	attempts int
	single   bool // attempts may not overlap
	// try makes one attempt and judges it. The context ends with the attempt.
	try func(ctx context.Context, attempt int, hedge bool) outcome
}

func (d *Dependency) begin(ctx context.Context, m *method) call {
	d.budget.deposit()
	return call{Dependency: d, method: m, deadline: m.deadline(ctx, time.Now()), chain: chainOf(ctx)}
}

// run makes attempts until one settles the call, or no other would help. It
// returns the error of the last: that of a budget or a deadline would hide it.
func (c *call) run(ctx context.Context) error {
	for {
		c.attempts++
		o := c.hedged(ctx)
		if o.panicked != nil {
			panic(o.panicked) // where the caller can recover it
		}
		if o.err == nil {
			c.meter.done(c.attempts, true)
			c.chain.note(c.attempts, false)
			return nil
		}
		if !c.again(ctx, o) {
			c.meter.done(c.attempts, false)
			// What could have been retried was not, or not with success. A layer
			// above that did it now would multiply the load.
			c.chain.note(c.attempts, o.retry || o.final)
			return o.err
		}
	}
}

// again decides whether to make another attempt, and waits until it is time.
func (c *call) again(ctx context.Context, o outcome) bool {
	if !o.retry || o.final || c.attempts >= c.allowed() {
		return false
	}
	pause := c.cfg.pause(c.attempts, o.after)
	if !fits(c.deadline, pause, c.method.latency.typical()) {
		c.meter.retry(ctx, retryTooLate)
		return false
	}
	if !c.budget.withdraw() {
		c.meter.retry(ctx, retryNoBudget)
		return false
	}
	if !sleep(ctx, pause) {
		return false
	}
	c.meter.retry(ctx, retrySent)
	return true
}

// allowed is how many attempts this call may make: one, if the request that it
// is made for is a retry itself.
func (c *call) allowed() int {
	if c.chain.attempt() > 1 {
		return 1
	}
	return c.cfg.MaxAttempts
}

// once makes one attempt, through breaker and bulkhead and with its own timeout.
func (c *call) once(ctx context.Context, attempt int, hedge bool) (o outcome) {
	admitted, err := c.admit(ctx)
	if err != nil {
		return outcome{err: err, final: true}
	}
	// A panic says nothing about the dependency, and must not keep a permit.
	settled := false
	defer func() {
		if !settled {
			c.settle(admitted, Neutral)
		}
	}()
	if deadline := c.attemptDeadline(admitted.began); !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	o = c.try(ctx, attempt, hedge)
	settled = true
	if took := c.settle(admitted, o.health); o.err == nil {
		c.method.latency.observe(took)
	}
	return o
}

// attemptDeadline is when an attempt that begins now is given up; zero: never.
func (c *call) attemptDeadline(now time.Time) time.Time {
	if c.method.attempt == 0 {
		return c.deadline
	}
	if own := now.Add(c.method.attempt); c.deadline.IsZero() || own.Before(c.deadline) {
		return own
	}
	return c.deadline
}
