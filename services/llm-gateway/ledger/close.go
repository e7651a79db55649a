package ledger

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
)

// closing is an attempt on its way to settled or failed, or to unknown.
type closing struct {
	id      AttemptID
	epoch   int32
	from    State
	outcome Outcome
	answer  *Stored
}

// outcomeColumns are set by whatever ends an attempt; the parameters are those of
// outcomeArgs.
const outcomeColumns = `state = $4, cost = $5, input = $6, cache_read = $7, cache_write = $8, cache_write_1h = $9,
        output = $10, reasoning = $11, exact = $12, upstream_id = $13, finish = $14, error = $15`

// The statement that ends an attempt. Locks go in the order of the schema: the
// attempt, its key, budgets by id; that is what the odd conditions are for, as
// one part of a statement runs before another only if that one needs it.
//
// It returns the row as it was before. A row that did not match is either
// another owner's, or ended by an earlier send of this same statement.
const closeTemplate = `WITH closed AS (
    UPDATE llm_attempts
    SET ` + outcomeColumns + `, end_time = now()
    WHERE request = $1 AND number = $2 AND {{fenced}}
    RETURNING tenant, idempotency_key, worst, budgets
),
keyed AS (
    UPDATE llm_keys k
    SET open = k.open - 1, billed = k.billed OR $4 = 'settled',
        stream = coalesce($17, k.stream), status = coalesce($18, k.status),
        content_type = coalesce($19, k.content_type), body = coalesce($20, k.body)
    FROM closed c
    WHERE k.tenant = c.tenant AND k.key = c.idempotency_key AND k.request = $1
    RETURNING 1
),
locked AS MATERIALIZED (
    SELECT b.id
    FROM llm_budgets b
    WHERE b.id = ANY ((SELECT budgets FROM closed)::uuid[]) AND (SELECT count(*) FROM keyed) >= 0
    ORDER BY b.id
    FOR NO KEY UPDATE
),
returned AS (
    UPDATE llm_budgets b
    SET reserved = b.reserved - c.worst, settled = b.settled + $5,
        overrun = b.overrun + greatest($5 - c.worst, 0)
    FROM locked, closed c
    WHERE b.id = locked.id
    RETURNING 1
)
SELECT a.state, a.epoch, a.worst, a.provider, EXISTS (SELECT FROM closed)
FROM llm_attempts a
WHERE a.request = $1 AND a.number = $2`

const fencing = "epoch = $3 AND state = $16"

var (
	closeAttempt = strings.ReplaceAll(closeTemplate, "{{fenced}}", fencing)
	// Without the epoch, whoever comes last has the last word.
	closeUnfenced = strings.ReplaceAll(closeTemplate, "{{fenced}}", "$3::integer > 0 AND $16::text <> ''")
)

// unknownAttempt leaves an attempt to the reconciler. Its reservation stays, and
// so does its key.
const unknownAttempt = `WITH left_open AS (
    UPDATE llm_attempts
    SET state = 'unknown', end_time = now(), lease_until = now() + $4::interval,
        upstream_id = coalesce($5, upstream_id), error = coalesce($6, error)
    WHERE request = $1 AND number = $2 AND epoch = $3 AND state = 'dispatched'
    RETURNING 1
)
SELECT a.state, a.epoch, a.worst, a.provider, EXISTS (SELECT FROM left_open)
FROM llm_attempts a
WHERE a.request = $1 AND a.number = $2`

// before is an attempt as a statement found it.
type before struct {
	state    State
	epoch    int32
	worst    int64
	provider string
	changed  bool
}

// close ends an attempt, or leaves it unknown. It returns whether it was ended by
// this call.
func (l *Ledger) close(ctx context.Context, c closing) (bool, error) {
	var was before
	sql, args := closeAttempt, c.args()
	switch {
	case c.outcome.State == Unknown:
		sql = unknownAttempt
		args = []any{pgUUID(c.id.Request), c.id.Number, c.epoch, l.firstLook, text(c.outcome.UpstreamID), text(c.outcome.Error)}
	case l.without.epoch:
		sql = closeUnfenced
	}
	for range maxResends {
		_, err := l.write(ctx, sql, args, &was.state, &was.epoch, &was.worst, &was.provider, &was.changed)
		if errors.Is(err, pgx.ErrNoRows) {
			return false, ErrFenced
		}
		if err != nil {
			return false, failed("closing attempt "+c.id.String(), err)
		}
		// A row that another transaction had under way looks untouched and did not
		// match: the next look tells.
		if was.changed || was.state != c.from || was.epoch != c.epoch {
			break
		}
	}
	switch {
	case was.changed:
		l.noteClosed(ctx, c, was)
		return true, nil
	case was.epoch == c.epoch && was.state != c.from:
		return false, nil // an earlier send of this
	}
	meters().fenced.Add(ctx, 1)
	return false, ErrFenced
}

// noteClosed counts what deserves a person's attention.
func (l *Ledger) noteClosed(ctx context.Context, c closing, was before) {
	if c.outcome.Cost > was.worst && c.outcome.State == Settled {
		meters().overruns.Add(ctx, 1, labelProvider(was.provider))
		l.log.WarnContext(ctx, "a provider billed more than the worst case",
			"attempt", c.id.String(), "provider", was.provider, "worst", was.worst, "cost", c.outcome.Cost)
	}
}

// args are the parameters of closeAttempt.
func (c *closing) args() []any {
	args := append([]any{pgUUID(c.id.Request), c.id.Number, c.epoch}, c.outcome.args()...)
	args = append(args, string(c.from))
	if c.answer == nil {
		return append(args, nil, nil, nil, nil)
	}
	body := c.answer.Body
	if body == nil {
		body = []byte{} // an answer without a body is one
	}
	return append(args, c.answer.Stream, int16(c.answer.Status), c.answer.ContentType, body) //nolint:gosec // an HTTP status has three digits
}

// args are the parameters of outcomeColumns.
func (o *Outcome) args() []any {
	return []any{
		string(o.State), o.Cost, o.Usage.Input, o.Usage.CacheRead, o.Usage.CacheWrite, o.Usage.CacheWrite1h,
		o.Usage.Output, o.Usage.Reasoning, o.Exact, text(o.UpstreamID), text(o.Finish), text(o.Error),
	}
}

func noRow(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
