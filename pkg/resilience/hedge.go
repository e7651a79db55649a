package resilience

import (
	"context"
	"time"
)

// hedged makes an attempt, and a second one beside it when the first is slower
// than a read should be (Dean and Barroso, The Tail at Scale, CACM 2013). What
// is decided first wins; the other is cancelled and waited for, so that it
// neither writes into the answer later nor outlives the call. A hedge is paid
// for by the budget of retries.
func (c *call) hedged(ctx context.Context) outcome {
	if c.method.hedgeAfter <= 0 || c.single || c.chain.attempt() > 1 {
		return c.once(ctx, c.attempts, false)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan outcome, 2) // never blocks who sends
	launch := func(attempt int, hedge bool) {
		go func() { // ends with the attempt, which ends with ctx; both are waited for
			var o outcome
			defer func() {
				if p := recover(); p != nil {
					o = outcome{panicked: p}
				}
				results <- o
			}()
			o = c.once(ctx, attempt, hedge)
		}()
	}
	launch(c.attempts, false)
	timer := time.NewTimer(c.method.hedgeAfter)
	defer timer.Stop()
	select {
	case o := <-results:
		return o
	case <-timer.C:
	}
	if !c.budget.withdraw() {
		c.meter.retry(ctx, retryNoBudget)
		return <-results
	}
	c.attempts++
	c.meter.retry(ctx, hedgeSent)
	launch(c.attempts, true)
	first := <-results
	if !first.settles() {
		return better(first, <-results)
	}
	cancel()
	<-results
	return first
}

// better is the outcome to go on with when the first did not settle the call.
func better(first, second outcome) outcome {
	if second.settles() || second.panicked != nil {
		return second
	}
	return first
}
