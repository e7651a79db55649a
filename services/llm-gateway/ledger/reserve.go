package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The statement that reserves. It looks first, without locks, and refuses on
// what it sees: under pressure on a spent budget that is the common case, and
// costs no write. Only then it writes, each part taking its row from the part
// before, which makes the order of locks the one of the schema. Budgets go by
// id. Whether a key is free and a budget has room is asked again of the locked
// row, which may be newer than what was seen; if that says otherwise, all of it
// is undone and sent again.
//
// An INSERT … ON CONFLICT DO UPDATE makes the budget of a new period and draws
// on that of an old one in one step, and sees a row that was committed after the
// statement began.
const reserveTemplate = `WITH seen AS MATERIALIZED (
    SELECT w.place, w.id, w.ceiling, w.tenant, w.name, w.period, w.starts, w.ends,
        w.ceiling - coalesce((SELECT b.settled + b.reserved FROM llm_budgets b WHERE b.id = w.id), 0) AS room
    FROM unnest($12::uuid[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::timestamptz[], $18::timestamptz[])
        WITH ORDINALITY AS w (id, ceiling, tenant, name, period, starts, ends, place)
),
short AS MATERIALIZED (
    SELECT place, room FROM seen WHERE room < $11::bigint ORDER BY room LIMIT 1
),
{{key}}verdict AS MATERIALIZED (
    SELECT {{free}} AS free, NOT EXISTS (SELECT FROM short) AS fits
),
attempt AS (
    INSERT INTO llm_attempts (
        request, number, state, lease_until, tenant, route, protocol, stream,
        provider, model, provider_key, price_version, worst, budgets, idempotency_key
    )
    SELECT $1, 1, 'dispatched', now() + $6::interval, $2, $3, $4, $5, $7, $8, $9, $10, $11, $12, {{idempotency_key}}
    FROM verdict
    WHERE verdict.free AND verdict.fits
    ON CONFLICT (request, number) DO NOTHING
    RETURNING 1
),
{{take}}raised AS (
    INSERT INTO llm_budgets AS b (id, reserved, ceiling, starts, ends, tenant, name, period)
    SELECT s.id, $11, s.ceiling, s.starts, s.ends, s.tenant, s.name, s.period
    FROM {{after}} CROSS JOIN seen s
    ORDER BY s.id
    ON CONFLICT (id) DO UPDATE
    SET reserved = b.reserved + excluded.reserved, ceiling = excluded.ceiling
    {{conditional}}
    RETURNING 1
)
SELECT EXISTS (SELECT FROM attempt) AS fresh,
    NOT EXISTS (SELECT FROM attempt) AND EXISTS (SELECT FROM llm_attempts WHERE request = $1 AND number = 1) AS known,
    coalesce((SELECT place FROM short), 0) AS place,
    coalesce((SELECT room FROM short), 0) AS room,
    CASE WHEN EXISTS (SELECT FROM attempt)
        AND NOT (EXISTS (SELECT FROM {{after}}) AND (SELECT count(*) FROM raised) = cardinality($12::uuid[]))
        THEN llm_overtaken() END{{columns}}`

const (
	conditional = `WHERE b.settled + b.reserved + excluded.reserved <= excluded.ceiling`

	// What a key says. An unknown attempt that nobody can be asked about waits
	// for ever, as far as a client is concerned.
	reserveKey = `held AS MATERIALIZED (
    SELECT k.*, k.create_time <= now() - $21::interval OR k.open = 0 AND NOT k.billed AND k.fingerprint = $20 AS free
    FROM llm_keys k
    WHERE k.tenant = $2 AND k.key = $19
),
`
	reserveTake = `taken AS (
    INSERT INTO llm_keys AS k (tenant, key, request, fingerprint, open)
    SELECT $2, $19, $1, $20, 1
    FROM attempt
    ON CONFLICT (tenant, key) DO UPDATE
    SET request = excluded.request, fingerprint = excluded.fingerprint, open = excluded.open, create_time = now(),
        billed = FALSE, stream = NULL, status = NULL, content_type = NULL, body = NULL
    WHERE k.create_time <= now() - $21::interval OR k.open = 0 AND NOT k.billed AND k.fingerprint = excluded.fingerprint
    RETURNING 1
),
`
	reserveColumns = `,
    coalesce((SELECT free FROM held), TRUE) AS free,
    h.request, h.fingerprint, h.open, h.billed, h.stream, h.status, h.content_type, h.body,
    CASE WHEN h.open > 0 THEN (
        SELECT CASE WHEN min(a.lease_until) = 'infinity' THEN -1
            ELSE greatest(extract(epoch FROM min(a.lease_until) - now()), 0) END::float8
        FROM llm_attempts a
        WHERE a.request = h.request AND a.state = 'unknown'
    ) END AS asked_in
FROM (SELECT) one LEFT JOIN held h ON TRUE`
)

// reserveSQL fills in the template: for a request with a key or without, and
// with the condition or, to show what it is for, without.
func reserveSQL(keyed, checked bool) string {
	parts := map[string]string{
		"key": "", "free": "TRUE", "idempotency_key": "NULL", "take": "", "after": "attempt", "columns": "", "conditional": conditional,
	}
	if keyed {
		parts["key"], parts["free"], parts["idempotency_key"] = reserveKey, "coalesce((SELECT free FROM held), TRUE)", "$19"
		parts["take"], parts["after"], parts["columns"] = reserveTake, "taken", reserveColumns
	}
	if !checked {
		parts["conditional"] = ""
	}
	return fill(reserveTemplate, parts)
}

func fill(template string, parts map[string]string) string {
	for name, sql := range parts {
		template = strings.ReplaceAll(template, "{{"+name+"}}", sql)
	}
	return template
}

var (
	reserve             = reserveSQL(false, true)
	reserveKeyed        = reserveSQL(true, true)
	reserveUnchecked    = reserveSQL(false, false)
	reserveKeyUnchecked = reserveSQL(true, false)
)

// Reserve is what comes before a request leaves, in one round trip: it takes
// the idempotency key, reserves the worst case in every budget, and writes the
// first attempt as dispatched. All of that happens, or none.
//
// It returns what is held; or, for a key that was answered before, the answer;
// or an error: [*OverBudget], [ErrInFlight], [ErrKeyReused], [ErrInterrupted],
// [ErrFenced] if the request was reserved before and is past its lease, or
// trouble of the database.
//
// A key is free for another try of the same request when nothing of the last one
// is open and nothing was billed, and for anything when its retention is over.
//
// If the reply of the database is lost, Reserve asks again; if it cannot find
// out, it returns OUTCOME_UNKNOWN. Nothing may be sent then, and the request may
// be reserved again under its own id.
func (l *Ledger) Reserve(ctx context.Context, r Request) (*Held, *Replay, error) {
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	p, err := newPurse(r.Budgets)
	if err != nil {
		return nil, nil, err
	}
	held := &Held{
		ledger: l, request: r.ID, purse: p, lease: r.Lease,
		number: 1, worst: r.First.Worst, until: time.Now().Add(r.Lease),
	}
	got, err := l.reserve(ctx, &r, p)
	switch {
	case err != nil:
		if inDoubt(err) {
			held.withdraw(ctx, 1)
		}
		meters().reserved.Add(ctx, 1, labelError)
		return nil, nil, failed("reserving", err)
	case got.fresh:
		meters().reserved.Add(ctx, 1, labelHeld)
		return held, nil, nil
	case got.known:
		if err := l.stillOurs(ctx, r.ID); err != nil {
			return nil, nil, err
		}
		meters().reserved.Add(ctx, 1, labelHeld)
		return held, nil, nil
	case r.Key != "" && !got.free:
		replay, err := got.answer(&r)
		meters().reserved.Add(ctx, 1, labelKey(err))
		return nil, replay, err
	}
	meters().reserved.Add(ctx, 1, labelOverBudget)
	return nil, nil, p.refused(got.place, got.room)
}

// reservation is what the statement found.
type reservation struct {
	fresh, known bool
	place        int
	room         int64

	free        bool
	request     *uuid.UUID
	fingerprint []byte
	open        *int32
	billed      *bool
	stream      *bool
	status      *int16
	contentType *string
	body        []byte
	askedIn     *float64
}

func (l *Ledger) reserve(ctx context.Context, r *Request, p *purse) (*reservation, error) {
	args := []any{
		pgUUID(r.ID), r.Tenant, r.Route, r.Protocol, r.Stream, r.Lease,
		r.First.Provider, r.First.Model, r.First.Key, r.First.PriceVersion, r.First.Worst,
		p.ids, p.ceilings, p.tenants, p.names, p.periods, p.starts, p.ends,
	}
	var got reservation
	dest := []any{&got.fresh, &got.known, &got.place, &got.room, nil}
	sql := reserve
	if l.without.reservation {
		sql = reserveUnchecked
	}
	if r.Key != "" {
		sql = reserveKeyed
		if l.without.reservation {
			sql = reserveKeyUnchecked
		}
		args = append(args, r.Key, r.Fingerprint, l.retention)
		dest = append(dest, &got.free, &got.request, &got.fingerprint, &got.open, &got.billed,
			&got.stream, &got.status, &got.contentType, &got.body, &got.askedIn)
	}
	for range maxOvertaken {
		if _, err := l.write(ctx, sql, args, dest...); err != nil {
			return nil, err
		}
		// A row that appeared since the statement began: it is there the next time.
		unseen := !got.fresh && !got.known && got.place == 0 && (r.Key == "" || got.free)
		if !unseen {
			break
		}
	}
	return &got, nil
}

// answer says what a key that is not free stands for.
func (got *reservation) answer(r *Request) (*Replay, error) {
	switch {
	case !bytes.Equal(got.fingerprint, r.Fingerprint):
		return nil, ErrKeyReused
	case got.body != nil:
		return &Replay{
			Request: *got.request,
			Stored:  Stored{Status: int(*got.status), ContentType: *got.contentType, Stream: *got.stream, Body: got.body},
		}, nil
	case *got.open == 0, got.askedIn != nil && *got.askedIn < 0:
		return nil, ErrInterrupted
	}
	// Nobody knows how long a generation takes; an unknown one is asked about at
	// a known time.
	after := time.Second
	if got.askedIn != nil {
		after = time.Duration(*got.askedIn * float64(time.Second))
	}
	return nil, &InFlight{RetryAfter: min(max(after, time.Second), time.Minute)}
}

// stillOurs looks at the row of a request that was reserved before.
func (l *Ledger) stillOurs(ctx context.Context, request uuid.UUID) error {
	var state State
	var epoch int32
	err := l.row(ctx, `SELECT state, epoch FROM llm_attempts WHERE request = $1 AND number = 1`,
		[]any{pgUUID(request)}, &state, &epoch)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("ledger: the row of request %s is gone", request)
	case err != nil:
		return failed("looking for a reservation", err)
	case state != Dispatched || epoch != firstEpoch:
		return ErrFenced
	}
	return nil
}
