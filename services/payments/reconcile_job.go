package payments

import (
	"context"
	"time"

	"github.com/riverqueue/river"
)

// reconcileArgs is the River job that begins a run.
type reconcileArgs struct{}

// Kind names the job.
func (reconcileArgs) Kind() string { return "payments_reconcile" }

type reconcileWorker struct {
	river.WorkerDefaults[reconcileArgs]
	reconciler *reconciler
}

// Work begins a run and leaves it to whichever replica takes it.
func (w *reconcileWorker) Work(ctx context.Context, _ *river.Job[reconcileArgs]) error {
	_, _, err := w.reconciler.begin(ctx, time.Time{})
	return err
}

// job registers the worker and returns when it runs: every interval, and when
// the service starts unless it did so within one.
func (r *reconciler) job(workers *river.Workers) *river.PeriodicJob {
	river.AddWorker(workers, &reconcileWorker{reconciler: r})
	opts := &river.InsertOpts{
		MaxAttempts: 3,
		UniqueOpts:  river.UniqueOpts{ByPeriod: r.cfg.Interval},
	}
	return river.NewPeriodicJob(
		river.PeriodicInterval(r.cfg.Interval),
		func() (river.JobArgs, *river.InsertOpts) { return reconcileArgs{}, opts },
		&river.PeriodicJobOpts{ID: "payments_reconcile", RunOnStart: true},
	)
}
