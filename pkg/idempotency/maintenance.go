package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
)

// Maintain makes partitions ahead, drops expired ones, and turns expired opaque
// keys into tombstones. Each part is tried even if another failed. An error is
// worth an alert only when it lasts: locks are waited for briefly, and the next
// run goes on where this one stopped.
func (s *Store) Maintain(ctx context.Context) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("maintaining idempotency keys: %w", err)
	}
	defer pooled.Release()
	conn := pooled.Conn()
	return maintained(ctx, conn, func() error {
		until, making := makePartitions(ctx, conn, s.cfg.Retention)
		if making == nil {
			meters().partitionsUntil.Record(ctx, until.Unix())
		}
		kept, dropping := dropExpired(ctx, conn, s.cfg.Retention)
		if len(kept) > 0 {
			s.log.ErrorContext(ctx, "expired partitions are kept because keys in them are undecided", "partitions", describe(kept))
		}
		if isLockTimeout(dropping) {
			s.log.InfoContext(ctx, "a partition is in use; dropping it is left to the next run", "cause", dropping)
			dropping = nil
		}
		if err := errors.Join(making, dropping, bury(ctx, conn, s.cfg.Retention)); err != nil {
			return err
		}
		meters().maintained.Record(ctx, time.Now().Unix())
		return nil
	})
}

// MaintenanceArgs is the River job that runs [Store.Maintain].
type MaintenanceArgs struct{}

// Kind names the job.
func (MaintenanceArgs) Kind() string { return "idempotency_maintain" }

// InsertOpts makes the job a single one however many replicas schedule it.
func (MaintenanceArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		MaxAttempts: 3,
		UniqueOpts:  river.UniqueOpts{ByPeriod: maintenanceInterval},
	}
}

// maintenanceInterval is short against the days that partitions are made ahead.
const maintenanceInterval = time.Hour

type maintenanceWorker struct {
	river.WorkerDefaults[MaintenanceArgs]
	store *Store
}

// Work runs one round.
func (w *maintenanceWorker) Work(ctx context.Context, _ *river.Job[MaintenanceArgs]) error {
	return w.store.Maintain(ctx)
}

// Timeout leaves time to wait for older transactions while detaching.
func (w *maintenanceWorker) Timeout(*river.Job[MaintenanceArgs]) time.Duration {
	return 5 * time.Minute
}

// AddMaintenance registers the worker that keeps the tables of s in shape, and
// returns the periodic job for the River client's configuration: hourly, and
// when the service starts.
func AddMaintenance(workers *river.Workers, s *Store) *river.PeriodicJob {
	river.AddWorker(workers, &maintenanceWorker{store: s})
	return river.NewPeriodicJob(
		river.PeriodicInterval(maintenanceInterval),
		func() (river.JobArgs, *river.InsertOpts) { return MaintenanceArgs{}, nil },
		&river.PeriodicJobOpts{ID: "idempotency_maintain", RunOnStart: true},
	)
}
