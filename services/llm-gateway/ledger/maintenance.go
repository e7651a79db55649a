package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
)

// batch is how many rows one statement of maintenance takes, so that it is short
// and the next run goes on where this one stopped.
const batch = 1000

// Maintain removes keys past their retention, adds attempts past theirs up by
// day, and removes budgets whose period ended before that. An attempt that is
// not decided stays, however old, and so does what it is reserved in.
func (l *Ledger) Maintain(ctx context.Context) error {
	return errors.Join(
		l.inBatches(ctx, "removing keys", removeKeys, l.retention),
		l.inBatches(ctx, "adding up attempts", rollUp, l.history),
		l.inBatches(ctx, "removing budgets", removeBudgets, l.history),
	)
}

// A locked row is in use, and is left to the next run.
const removeKeys = `
DELETE FROM llm_keys
WHERE (tenant, key) IN (
    SELECT tenant, key
    FROM llm_keys
    WHERE create_time <= now() - $1::interval
    ORDER BY create_time
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)`

// One statement, so that a report sees an attempt once, here or there.
const rollUp = `
WITH old AS (
    DELETE FROM llm_attempts
    WHERE (request, number) IN (
        SELECT request, number
        FROM llm_attempts
        WHERE create_time < now() - $1::interval AND state IN ('settled', 'failed')
        ORDER BY create_time
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING *
),
added AS (
    INSERT INTO llm_usage_days AS d (
        day, tenant, route, provider, model, exact, requests, attempts, failed, overruns, cost,
        input, cache_read, cache_write, cache_write_1h, output, reasoning
    )
    SELECT (create_time AT TIME ZONE 'UTC')::date, tenant, route, provider, model, coalesce(exact, FALSE),
        count(*) FILTER (WHERE number = 1), count(*), count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE cost > worst),
        sum(cost), coalesce(sum(input), 0), coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0),
        coalesce(sum(cache_write_1h), 0), coalesce(sum(output), 0), coalesce(sum(reasoning), 0)
    FROM old
    GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY 1, 2, 3, 4, 5, 6 -- one order, for two replicas at once
    ON CONFLICT (day, tenant, route, provider, model, exact) DO UPDATE
    SET requests = d.requests + excluded.requests, attempts = d.attempts + excluded.attempts,
        failed = d.failed + excluded.failed, overruns = d.overruns + excluded.overruns, cost = d.cost + excluded.cost,
        input = d.input + excluded.input, cache_read = d.cache_read + excluded.cache_read,
        cache_write = d.cache_write + excluded.cache_write, cache_write_1h = d.cache_write_1h + excluded.cache_write_1h,
        output = d.output + excluded.output, reasoning = d.reasoning + excluded.reasoning
)
SELECT FROM old`

const removeBudgets = `
DELETE FROM llm_budgets
WHERE id IN (
    SELECT id
    FROM llm_budgets
    WHERE ends < now() - $1::interval AND reserved = 0
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)`

func (l *Ledger) inBatches(ctx context.Context, doing, query string, age time.Duration) error {
	for {
		var tag pgconn.CommandTag
		tag, err := l.pool.Exec(ctx, query, age, batch)
		if err != nil {
			return failed(doing, err)
		}
		if tag.RowsAffected() < batch {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("ledger: %s: %w", doing, err)
		}
	}
}

// MaintenanceArgs is the River job that runs [Ledger.Maintain].
type MaintenanceArgs struct{}

// Kind names the job.
func (MaintenanceArgs) Kind() string { return "llm_ledger_maintain" }

// InsertOpts makes the job a single one however many replicas schedule it.
func (MaintenanceArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		MaxAttempts: 3,
		UniqueOpts:  river.UniqueOpts{ByPeriod: maintenanceInterval},
	}
}

const maintenanceInterval = time.Hour

type maintenanceWorker struct {
	river.WorkerDefaults[MaintenanceArgs]
	ledger *Ledger
}

// Work runs one round.
func (w *maintenanceWorker) Work(ctx context.Context, _ *river.Job[MaintenanceArgs]) error {
	return w.ledger.Maintain(ctx)
}

// Timeout leaves time for the rows of an outage of maintenance.
func (w *maintenanceWorker) Timeout(*river.Job[MaintenanceArgs]) time.Duration {
	return 10 * time.Minute
}

// AddMaintenance registers the worker that keeps the tables of l small, and
// returns the periodic job for package housekeeping: hourly, and when the service
// starts.
func AddMaintenance(workers *river.Workers, l *Ledger) *river.PeriodicJob {
	river.AddWorker(workers, &maintenanceWorker{ledger: l})
	return river.NewPeriodicJob(
		river.PeriodicInterval(maintenanceInterval),
		func() (river.JobArgs, *river.InsertOpts) { return MaintenanceArgs{}, nil },
		&river.PeriodicJobOpts{ID: "llm_ledger_maintain", RunOnStart: true},
	)
}
