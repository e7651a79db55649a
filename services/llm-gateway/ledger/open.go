package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Open is an attempt that is unknown: reserved, and perhaps billed.
type Open struct {
	ID AttemptID
	// Tenant, Route, Protocol and Stream are those of its request.
	Tenant, Route, Protocol string
	Stream                  bool
	Attempt
	// UpstreamID is the provider's id of the generation, if it said one.
	UpstreamID string
	// CreateTime is when it was dispatched, and Since how long it has been
	// unknown.
	CreateTime time.Time
	Since      time.Duration
	// Lookups is how often it was asked about, counting one under way.
	Lookups int
	// Error is what went wrong last.
	Error string
}

const openColumns = `a.request, a.number, a.tenant, a.route, a.protocol, a.stream, a.provider, a.model, a.provider_key,
    a.worst, a.price_version, coalesce(a.upstream_id, ''), a.create_time, now() - coalesce(a.end_time, now()),
    a.lookups, coalesce(a.error, ''), a.epoch`

// claimed is one that this process may decide.
type claimed struct {
	Open
	epoch int32
}

func scanOpen(row pgx.CollectableRow) (claimed, error) {
	var c claimed
	err := row.Scan(&c.ID.Request, &c.ID.Number, &c.Tenant, &c.Route, &c.Protocol, &c.Stream, &c.Provider, &c.Model, &c.Key,
		&c.Worst, &c.PriceVersion, &c.UpstreamID, &c.CreateTime, &c.Since, &c.Lookups, &c.Error, &c.epoch)
	c.CreateTime = c.CreateTime.UTC()
	return c, err
}

// claim takes attempts whose lease is over. SKIP LOCKED lets replicas claim side
// by side, and the new epoch fences whoever had an attempt before.
func (l *Ledger) claim(ctx context.Context, limit int, lease time.Duration) ([]claimed, error) {
	const query = `
UPDATE llm_attempts a
SET epoch = a.epoch + 1, state = 'unknown', lookups = least(a.lookups + 1, 32767),
    end_time = coalesce(a.end_time, now()), lease_until = now() + $1::interval
FROM (
    SELECT request, number
    FROM llm_attempts
    WHERE state IN ('dispatched', 'unknown') AND lease_until <= now()
    ORDER BY lease_until
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
) due
WHERE a.request = due.request AND a.number = due.number
RETURNING ` + openColumns
	rows, err := l.pool.Query(ctx, query, lease, limit)
	if err != nil {
		return nil, failed("claiming attempts", err)
	}
	batch, err := pgx.CollectRows(rows, scanOpen)
	if err != nil {
		return nil, failed("claiming attempts", err)
	}
	return batch, nil
}

// never is a pause that does not end.
const never = time.Duration(-1)

// postpone leaves a claimed attempt until it is asked about again.
func (l *Ledger) postpone(ctx context.Context, a claimed, pause time.Duration, why string) error {
	const query = `
UPDATE llm_attempts
SET lease_until = CASE WHEN $5 THEN 'infinity' ELSE now() + $4::interval END, error = coalesce($6, error)
WHERE request = $1 AND number = $2 AND epoch = $3 AND state = 'unknown'`
	_, err := l.pool.Exec(ctx, query, pgUUID(a.ID.Request), a.ID.Number, a.epoch, pause, pause == never, text(why))
	if err != nil {
		return failed("postponing attempt "+a.ID.String(), err)
	}
	return nil
}

// UnknownSum is all attempts that are unknown, together.
type UnknownSum struct {
	Count int64
	// Reserved is what they keep reserved, in nano-dollars.
	Reserved int64
	// Oldest is for how long the oldest has been unknown.
	Oldest time.Duration
}

// Unknown adds up the attempts of which nobody knows whether they were billed.
func (l *Ledger) Unknown(ctx context.Context) (UnknownSum, error) {
	const query = `
SELECT count(*), coalesce(sum(worst), 0)::bigint, coalesce(max(now() - end_time), '0')
FROM llm_attempts
WHERE state = 'unknown'`
	var sum UnknownSum
	if err := l.pool.QueryRow(ctx, query).Scan(&sum.Count, &sum.Reserved, &sum.Oldest); err != nil {
		return UnknownSum{}, failed("counting unknown attempts", err)
	}
	return sum, nil
}

// Unknowns lists attempts that are unknown, the oldest first, for an operator.
func (l *Ledger) Unknowns(ctx context.Context, limit int) ([]Open, error) {
	const query = `
SELECT ` + openColumns + `
FROM llm_attempts a
WHERE a.state = 'unknown'
ORDER BY a.create_time
LIMIT $1`
	rows, err := l.pool.Query(ctx, query, limit)
	if err != nil {
		return nil, failed("listing unknown attempts", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Open, error) {
		c, err := scanOpen(row)
		return c.Open, err
	})
	if err != nil {
		return nil, failed("listing unknown attempts", err)
	}
	return list, nil
}

// Resolve is an operator's word on an unknown attempt: Settled at a cost, which
// is looked up on the provider's invoice, or Failed. [ErrDecided] says that there
// is nothing to resolve.
func (l *Ledger) Resolve(ctx context.Context, id AttemptID, o Outcome) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.State == Unknown {
		return errors.New("ledger: unknown does not resolve anything")
	}
	const query = `SELECT state, epoch FROM llm_attempts WHERE request = $1 AND number = $2`
	for range maxResends {
		var state State
		var epoch int32
		err := l.row(ctx, query, []any{pgUUID(id.Request), id.Number}, &state, &epoch)
		switch {
		case noRow(err), err == nil && state != Unknown:
			return ErrDecided
		case err != nil:
			return failed("resolving attempt "+id.String(), err)
		}
		// A reconciler may take it between the two; its epoch is another then.
		_, err = l.close(ctx, closing{id: id, epoch: epoch, from: Unknown, outcome: o})
		if !errors.Is(err, ErrFenced) {
			return err
		}
	}
	return fmt.Errorf("resolving attempt %s: %w", id, ErrFenced)
}
