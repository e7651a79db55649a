// Package housekeeping runs the periodic jobs of a service on River, which
// keeps them in the service's own database.
//
// It is for work that nobody waits for: partitions, reconciliation, expiry. What
// must be finished within seconds is swept for, not queued; see the completer of
// package idempotency.
package housekeeping

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// Job registers its worker, and returns when it runs.
type Job func(*river.Workers) *river.PeriodicJob

const (
	// poll is how often a replica looks for a job. None is urgent, and polling
	// spares the connection that listening would keep for itself.
	poll = 5 * time.Second
	// stopBound bounds stopping. A job that is cut short goes on where it
	// stopped in its next run.
	stopBound = 3 * time.Second
)

// Run runs the jobs until ctx ends. All replicas run it; River elects one of
// them to schedule, so that a job runs once a period and not once a period and
// replica.
func Run(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger, jobs ...Job) error {
	workers := river.NewWorkers()
	periodic := make([]*river.PeriodicJob, len(jobs))
	for i, job := range jobs {
		periodic[i] = job(workers)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:            log,
		PeriodicJobs:      periodic,
		PollOnly:          true,
		FetchPollInterval: poll,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
		Workers:           workers,
	})
	if err != nil {
		return fmt.Errorf("preparing housekeeping: %w", err)
	}
	// Its own context: the end of ctx asks to stop, and stopping lets a job end.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("starting housekeeping: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopBound)
	defer cancel()
	if err := client.StopAndCancel(stop); err != nil {
		return fmt.Errorf("stopping housekeeping: %w", err)
	}
	return nil
}
