package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// reconciler compares our books with the processor's, in both directions, and
// keeps what it finds. It works a page at a time: each page is compared, and
// committed together with where the next one begins, so that memory is bounded
// by a page and a crash repeats a page.
//
// It never moves money, and never writes to payments or the ledger. What it may
// do is make the completer look at once at what it would have looked at anyway.
//
// Which replica works on a run is a lease with a fencing epoch, as for
// idempotency keys. River only begins a run every hour: who waits for one that
// was asked for, or that a crash cut off, waits for a sweep, not for a queue to
// rescue a job.
type reconciler struct {
	runs      *reconciliations
	payments  *store
	keys      *idempotency.Store
	processor Processor
	nudge     func() // makes the completer look at once
	log       *slog.Logger
	cfg       ReconcileConfig
	woken     chan struct{}
	// page is how many rows of ours are looked at in one step.
	page int
	// patience is how long the completer is given to heal.
	patience time.Duration
}

// phase is a part of a run.
type phase string

// The phases, in their order.
const (
	// comparingRecords compares what the processor did with what we have.
	comparingRecords phase = "records"
	// comparingEntries compares the ledger with what the processor did.
	comparingEntries phase = "entries"
	// comparingAuthorizations does so for what is reserved, which has no entry.
	comparingAuthorizations phase = "authorizations"
	// lookingForOverdue asks the processor for what has been open too long.
	lookingForOverdue phase = "overdue"
	// healing waits a moment for the completer.
	healing phase = "healing"
	// closingFindings looks at all that is open again, whichever run found it.
	closingFindings phase = "findings"
	finished        phase = "finished"

	firstPhase = comparingRecords
)

// step is what one step of a run leaves behind, and where the next one begins.
type step struct {
	Phase            phase
	Cursor           string
	Records, Entries int64
	Seen             []Record
	Findings         []Finding
	Closings         []closing
	GivenBack        []Record
}

const (
	// reconcileSweep is how often a replica looks for a run to work on.
	reconcileSweep = 2 * time.Second
	// reconcileLease is for how long one step may take. It is renewed with each.
	reconcileLease = time.Minute
	// reconcilePause is how long a run waits when the processor does not answer.
	reconcilePause = 10 * time.Second
)

func newReconciler(cfg ReconcileConfig, s *store, keys *idempotency.Store, processor Processor, nudge func(), log *slog.Logger) *reconciler {
	return &reconciler{
		runs:      &reconciliations{pool: s.pool},
		payments:  s,
		keys:      keys,
		processor: processor,
		nudge:     nudge,
		log:       log,
		cfg:       cfg,
		woken:     make(chan struct{}, 1),
		page:      recordsPage,
		patience:  15 * time.Second,
	}
}

// begin starts a run, or joins the one that is under way, and returns at once.
// Since is where it begins to compare; zero for where the last one ended.
func (r *reconciler) begin(ctx context.Context, since time.Time) (*run, bool, error) {
	started, joined, err := r.runs.begin(ctx, window{
		Since: since, Settling: r.cfg.Settling, Overlap: r.cfg.Overlap, Lookback: r.cfg.Lookback,
	})
	if err != nil {
		return nil, false, err
	}
	select {
	case r.woken <- struct{}{}:
	default:
	}
	return started, joined, nil
}

// work takes runs that nobody works on until ctx ends.
func (r *reconciler) work(ctx context.Context) error {
	var measured time.Time
	for {
		taken, err := r.runs.take(ctx, reconcileLease)
		if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "looking for a reconciliation failed; the next look follows", "cause", err)
		}
		if taken != nil {
			r.carryOn(ctx, taken)
		}
		if taken != nil || time.Since(measured) > reconcileLease/4 {
			r.measure(ctx)
			measured = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.woken:
		case <-time.After(reconcileSweep):
		}
	}
}

// carryOn works on a run until it is complete, or as far as it gets.
func (r *reconciler) carryOn(ctx context.Context, taken *run) {
	for taken.Phase != finished {
		err := r.advance(ctx, taken)
		if err == nil {
			continue
		}
		if errors.Is(err, errTakenOver) {
			r.log.WarnContext(ctx, "a reconciliation was taken over: a step took longer than its lease", "run", taken.Number)
			return
		}
		pause, failure := reconcilePause, err.Error()
		if ctx.Err() != nil {
			pause, failure = 0, "" // we leave; another replica may go on at once
		} else {
			r.log.WarnContext(ctx, "a reconciliation cannot go on", "run", taken.Number, "phase", taken.Phase, "again_in", pause, "cause", err)
		}
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := r.runs.giveBack(leaving, taken, pause, failure); err != nil {
			r.log.WarnContext(ctx, "a reconciliation was not given back and waits for its lease", "run", taken.Number, "cause", err)
		}
		return
	}
	r.log.InfoContext(ctx, "reconciled with the processor", "run", taken.Number, "since", taken.Since, "until", taken.Until,
		"records", taken.Records, "entries", taken.Entries)
}

// advance makes one step and commits it.
func (r *reconciler) advance(ctx context.Context, taken *run) error {
	steps := map[phase]func(context.Context, *run) (step, error){
		comparingRecords:        r.compareRecords,
		comparingEntries:        r.compareEntries,
		comparingAuthorizations: r.compareAuthorizations,
		lookingForOverdue:       r.findOverdue,
		healing:                 r.awaitHealing,
		closingFindings:         r.closeFindings,
	}
	do, known := steps[taken.Phase]
	if !known {
		return fmt.Errorf("the run is in the phase %q, which only a newer version knows", taken.Phase)
	}
	done, err := do(ctx, taken)
	if err != nil {
		return err
	}
	raised, err := r.runs.progress(ctx, taken, done, reconcileLease)
	if err != nil {
		return err
	}
	r.tell(ctx, taken, done, raised)
	return nil
}

// tell says in the log and in metrics what a step has found.
func (r *reconciler) tell(ctx context.Context, taken *run, done step, raised []Finding) {
	for _, f := range raised {
		r.log.ErrorContext(ctx, "our books and the processor's differ", "run", taken.Number, "finding", f.Kind,
			"payment", f.Payment, "operation", f.Operation, "processor_id", f.ProcessorID, "processor_key", f.ProcessorKey,
			"ours", f.Ours, "theirs", f.Theirs)
	}
	countCompared(ctx, done)
	countFindings(ctx, raised, done.Closings)
}
