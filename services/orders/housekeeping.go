package orders

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// housekeepingPoll is how often a replica looks for a job. None is urgent, and
// polling spares the connection that listening would keep for itself.
const housekeepingPoll = 5 * time.Second

// runHousekeeping runs periodic jobs until ctx ends. All replicas run it; River
// elects one of them to schedule, so that a job runs once an hour and not once
// an hour and replica.
func runHousekeeping(ctx context.Context, pool *pgxpool.Pool, keys *idempotency.Store, log *slog.Logger) error {
	workers := river.NewWorkers()
	maintenance := idempotency.AddMaintenance(workers, keys)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:            log,
		PeriodicJobs:      []*river.PeriodicJob{maintenance},
		PollOnly:          true,
		FetchPollInterval: housekeepingPoll,
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
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), housekeepingStop)
	defer cancel()
	if err := client.StopAndCancel(stop); err != nil {
		return fmt.Errorf("stopping housekeeping: %w", err)
	}
	return nil
}

// housekeepingStop bounds stopping. A job that is cut short goes on where it
// stopped in its next run.
const housekeepingStop = 3 * time.Second
