package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Verdict is what a provider's books say about an attempt.
type Verdict string

// The verdicts.
const (
	// Found is that it was billed; the finding has the outcome.
	Found Verdict = "found"
	// NeverHappened is that it is not on the books and will not come to be.
	NeverHappened Verdict = "never_happened"
	// NotYet is that it cannot be told yet: ask again later.
	NotYet Verdict = "not_yet"
	// NobodyKnows is that this provider cannot be asked. The attempt stays
	// unknown until a person resolves it.
	NobodyKnows Verdict = "nobody_knows"
)

// Finding is the answer of a Lookup.
type Finding struct {
	Verdict Verdict
	// Outcome is of Found: Settled with usage and cost, or Failed if the books
	// have it and charge nothing.
	Outcome Outcome
}

// Lookup asks an attempt's provider what became of it, by the name of its id. An
// error counts as NotYet.
type Lookup func(ctx context.Context, a Open) (Finding, error)

// Reconciler finds out what became of attempts whose owner is gone or could not
// tell. It takes an attempt whose lease is over under a new epoch, which makes it
// unknown and fences its owner, asks the provider, and settles or fails it. What
// nobody knows yet keeps its reservation and is asked about again, less and less
// often.
//
// Any number of replicas run one: rows that another has in hand are skipped.
type Reconciler struct {
	ledger      *Ledger
	lookup      Lookup
	interval    time.Duration
	horizon     time.Duration
	patience    time.Duration
	first, last time.Duration
	concurrency int
}

// ReconcilerOption changes a reconciler.
type ReconcilerOption func(*Reconciler)

// WithInterval is the pause between two looks for attempts whose lease is over.
// The default is 5 seconds.
func WithInterval(d time.Duration) ReconcilerOption { return func(r *Reconciler) { r.interval = d } }

// WithHorizon is how long an attempt must have been unknown before NeverHappened
// is believed: what was sent in the last moment of a lease may still arrive. The
// default is a minute.
func WithHorizon(d time.Duration) ReconcilerOption { return func(r *Reconciler) { r.horizon = d } }

// WithBackoff is the pause before the second lookup of an attempt, and the
// longest between two; it doubles from one to the next. The defaults are 10
// seconds and 15 minutes.
func WithBackoff(first, last time.Duration) ReconcilerOption {
	return func(r *Reconciler) { r.first, r.last = first, last }
}

// WithPatience is how long one lookup may take. The default is 10 seconds.
func WithPatience(d time.Duration) ReconcilerOption { return func(r *Reconciler) { r.patience = d } }

// WithConcurrency is how many lookups are under way at once. The default is 4.
func WithConcurrency(n int) ReconcilerOption { return func(r *Reconciler) { r.concurrency = n } }

// NewReconciler returns a reconciler of l that asks by lookup.
func NewReconciler(l *Ledger, lookup Lookup, options ...ReconcilerOption) *Reconciler {
	r := &Reconciler{
		ledger: l, lookup: lookup, interval: 5 * time.Second, horizon: time.Minute, patience: 10 * time.Second,
		first: 10 * time.Second, last: 15 * time.Minute, concurrency: 4,
	}
	for _, o := range options {
		o(r)
	}
	return r
}

// Run reconciles until ctx ends and returns nil then: a worker of pkg/service.
// Trouble of the database is logged, and the next round tries again.
func (r *Reconciler) Run(ctx context.Context) error {
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		if _, err := r.Round(ctx); err != nil && ctx.Err() == nil {
			r.ledger.log.WarnContext(ctx, "reconciling attempts is left to the next round", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Round takes everything whose time has come, and returns how many lookups it
// made.
func (r *Reconciler) Round(ctx context.Context) (int, error) {
	looked := 0
	for ctx.Err() == nil {
		// As many as are looked up at once, so that no claim grows old in a queue.
		batch, err := r.ledger.claim(ctx, r.concurrency, r.patience+detachBound)
		if err != nil {
			return looked, err
		}
		var asking sync.WaitGroup
		for _, a := range batch {
			asking.Go(func() { r.reconcile(ctx, a) })
		}
		asking.Wait()
		looked += len(batch)
		if len(batch) < r.concurrency {
			break
		}
	}
	sum, err := r.ledger.Unknown(ctx)
	if err != nil {
		return looked, err
	}
	meters().now.Store(&standing{UnknownSum: sum, at: time.Now()})
	return looked, nil
}

// reconcile asks about one attempt and writes what it learns.
func (r *Reconciler) reconcile(ctx context.Context, a claimed) {
	found, err := r.ask(ctx, a.Open)
	if err == nil && found.Verdict == NeverHappened {
		found.Outcome = Outcome{State: Failed, Exact: true, Error: "the provider has no record of it"}
		if a.Since < r.horizon {
			found.Verdict = NotYet
		}
	}
	// What was learned is written even if we are asked to stop meanwhile.
	ctx, cancel := detached(ctx)
	defer cancel()
	verdict := found.Verdict
	switch {
	case err != nil:
		verdict = "error"
		err = r.ledger.postpone(ctx, a, r.pause(a.Lookups), err.Error())
	case verdict == Found || verdict == NeverHappened:
		_, err = r.ledger.close(ctx, closing{id: a.ID, epoch: a.epoch, from: Unknown, outcome: found.Outcome})
	case verdict == NobodyKnows:
		err = r.ledger.postpone(ctx, a, never, "")
	default:
		verdict = NotYet
		err = r.ledger.postpone(ctx, a, r.pause(a.Lookups), "")
	}
	meters().reconciled.Add(ctx, 1, label("verdict", string(verdict)))
	if err != nil {
		r.ledger.log.WarnContext(ctx, "what became of an attempt was not written; it is asked about again",
			"attempt", a.ID.String(), "verdict", string(verdict), "cause", err)
	}
}

func (r *Reconciler) ask(ctx context.Context, a Open) (Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	found, err := r.lookup(ctx, a)
	if err == nil && found.Verdict == Found {
		if found.Outcome.State == Unknown {
			return Finding{}, fmt.Errorf("a lookup found an outcome that is unknown")
		}
		err = found.Outcome.check()
	}
	return found, err
}

// pause is how long an attempt is left alone after so many lookups.
func (r *Reconciler) pause(lookups int) time.Duration {
	pause := r.first
	for i := 1; i < lookups && pause < r.last; i++ {
		pause *= 2
	}
	pause = min(pause, r.last)
	return pause - time.Duration(rand.Int64N(int64(pause)/5+1)) //nolint:gosec // spreads lookups, guards nothing
}
