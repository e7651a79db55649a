// Package load puts steady load on a server and judges every answer.
//
// The load is open-loop: requests leave at the times a schedule names, whatever
// has become of the requests before. A closed loop (a number of workers, each
// of which waits for its answer) slows down together with the server it
// measures, and so leaves out exactly the requests that would have been slow.
// For the same reason a latency counts from the time the request was due, not
// from the time it was sent ("coordinated omission": Gil Tene, How NOT to
// Measure Latency).
//
// The package knows gRPC and HTTP (see [Sender]), not any service: what to send
// and what makes an answer right is the business of an [Operation].
package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Arrival is one request of the schedule.
type Arrival struct {
	// Number counts arrivals from zero.
	Number int64
	// Key is an idempotency key made for this arrival, a UUIDv7. Every attempt
	// at it carries the same one.
	Key string
	// Attempt counts from zero; above it only when retries are on.
	Attempt int
}

// Verdict is what an operation says of one attempt.
type Verdict struct {
	// Failure says what went wrong; nil means the answer was right.
	Failure *Failure
	// Replayed says that the answer was a stored one.
	Replayed bool
	// Version is what answered, if it said so.
	Version string
	// TransparentRetries counts how often the transport sent the request again
	// by itself because the server had certainly not looked at it.
	TransparentRetries int
}

// Operation performs one attempt and judges its answer. It must obey ctx and be
// safe for concurrent use.
type Operation func(ctx context.Context, a Arrival) Verdict

// Plan says what load to put on.
type Plan struct {
	// Rate is how many requests are due each second. Required.
	Rate float64
	// Operation performs each of them. Required.
	Operation Operation
	// Timeout bounds one attempt; 10 s if zero.
	Timeout time.Duration
	// Retries is how often a failure that says it may be retried is tried again,
	// with the same key; none if zero.
	Retries int
	// Patience is how long after it was due an arrival is tried again; as long as
	// there are retries if zero.
	Patience time.Duration
	// Backoff is the pause before a retry when the failure names none; 100 ms if
	// zero.
	Backoff time.Duration
	// MaxBackoff, if it is longer, is what the pause grows to, twice as long after
	// each retry, less a random part of up to a half. Clients that all pause for
	// as long keep a server down that has recovered.
	MaxBackoff time.Duration
	// MaxOutstanding bounds the requests under way, to protect the machine that
	// makes the load; 10,000 if zero. An arrival above it is never delayed: it
	// counts as failed, because a client that must wait for a place has failed.
	MaxOutstanding int64
}

// Run is load being put on.
type Run struct {
	plan        Plan
	recorder    *recorder
	phase       atomic.Pointer[string]
	outstanding atomic.Int64
	attempts    sync.WaitGroup
	stop        chan struct{}
	stopOnce    sync.Once
	paced       chan struct{}
}

// Start begins to put load on until [Run.Stop] is called or ctx ends. The first
// phase has the given name.
func Start(ctx context.Context, plan Plan, phase string) *Run {
	if plan.Timeout == 0 {
		plan.Timeout = 10 * time.Second
	}
	if plan.Backoff == 0 {
		plan.Backoff = 100 * time.Millisecond
	}
	if plan.MaxOutstanding == 0 {
		plan.MaxOutstanding = 10_000
	}
	r := &Run{
		plan:     plan,
		recorder: newRecorder(),
		stop:     make(chan struct{}),
		paced:    make(chan struct{}),
	}
	r.Phase(phase)
	go r.pace(ctx)
	return r
}

// Phase names the part of the run that arrivals belong to from now on; the
// report tells latencies and failures apart by it.
func (r *Run) Phase(name string) {
	r.recorder.open(name)
	r.phase.Store(&name)
}

// Report reports on what was answered so far.
func (r *Run) Report() Report { return r.recorder.report() }

// End ends the arrivals. What is under way goes on; [Run.Stop] waits for it.
func (r *Run) End() { r.stopOnce.Do(func() { close(r.stop) }) }

// Stop ends the arrivals, waits for what is under way, and reports.
func (r *Run) Stop() Report {
	r.End()
	<-r.paced
	r.attempts.Wait()
	return r.recorder.report()
}

// Progress is how far a run has got.
type Progress struct {
	// Sent, Failed and Outstanding count requests.
	Sent, Failed, Outstanding int64
}

// Progress returns how far the run has got.
func (r *Run) Progress() Progress {
	sent, failed := r.recorder.counts()
	return Progress{Sent: sent, Failed: failed, Outstanding: r.outstanding.Load()}
}

// pace launches every arrival at its time. Times are computed from the start
// and never from the arrival before, so a late one does not push the others; if
// the generator itself was held up, all that is due leaves at once, and its
// lateness is reported.
func (r *Run) pace(ctx context.Context) {
	defer close(r.paced)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		due := start.Add(time.Duration(float64(n) / r.plan.Rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-r.stop:
			return
		case <-ctx.Done():
			return
		}
		phase := *r.phase.Load()
		r.recorder.sent(phase, time.Since(due))
		if r.outstanding.Add(1) > r.plan.MaxOutstanding {
			r.outstanding.Add(-1)
			r.recorder.done(phase, 0, 0, Verdict{Failure: &Failure{Kind: NotSent, Detail: "too many requests outstanding"}})
			continue
		}
		r.attempts.Go(func() {
			defer r.outstanding.Add(-1)
			retries, verdict := r.perform(ctx, n, due)
			r.recorder.done(phase, time.Since(due), retries, verdict)
		})
	}
}

// perform tries one arrival until it is answered rightly, may not be retried, or
// its retries or its patience are used up.
func (r *Run) perform(ctx context.Context, n int64, due time.Time) (retries int, verdict Verdict) {
	arrival := Arrival{Number: n, Key: uuid.Must(uuid.NewV7()).String()}
	transparent := 0
	for {
		attempt, cancel := context.WithTimeout(ctx, r.plan.Timeout)
		verdict = r.plan.Operation(attempt, arrival)
		cancel()
		transparent += verdict.TransparentRetries
		verdict.TransparentRetries = transparent
		impatient := r.plan.Patience > 0 && time.Since(due) > r.plan.Patience
		if verdict.Failure == nil || !verdict.Failure.Retryable || arrival.Attempt >= r.plan.Retries || impatient {
			return arrival.Attempt, verdict
		}
		select {
		case <-time.After(max(verdict.Failure.RetryAfter, r.plan.pause(arrival.Attempt))):
		case <-ctx.Done():
			return arrival.Attempt, verdict
		}
		arrival.Attempt++
	}
}

// pause is the time before the retry that follows an attempt.
func (p Plan) pause(attempt int) time.Duration {
	if p.MaxBackoff <= p.Backoff {
		return p.Backoff
	}
	longest := p.MaxBackoff
	if attempt < 16 { // no overflow
		longest = min(longest, p.Backoff<<attempt)
	}
	return longest - rand.N(longest/2)
}
