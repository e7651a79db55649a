package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// The statement that ends an attempt and reserves the next. As in reserve, it
// looks first and asks again under locks. $17 is what it moves in each budget:
// the next worst case, less what the ended attempt gives back, plus what that
// did cost. What takes nothing always fits, even in a budget that is overrun. Limits
// are those of the rows: newer requests may have brought newer ones.
//
// An attempt that ends unknown keeps its reservation and gets the time at which
// it is first asked about.
const nextAttempt = `WITH seen AS MATERIALIZED (
    SELECT w.place, b.ceiling - b.settled - b.reserved AS room
    FROM unnest($18::uuid[]) WITH ORDINALITY AS w (id, place)
    JOIN llm_budgets b ON b.id = w.id
),
short AS MATERIALIZED (
    SELECT place, room FROM seen WHERE $17::bigint > 0 AND room < $17 ORDER BY room LIMIT 1
),
ended AS (
    UPDATE llm_attempts
    SET ` + outcomeColumns + `,
        end_time = now(),
        lease_until = CASE WHEN $4 = 'unknown' THEN now() + $19::interval ELSE lease_until END
    WHERE request = $1 AND number = $2 AND epoch = $3 AND state = $16 AND NOT EXISTS (SELECT FROM short)
    RETURNING tenant, route, protocol, stream, worst, budgets, idempotency_key
),
begun AS (
    INSERT INTO llm_attempts (
        request, number, state, lease_until, tenant, route, protocol, stream,
        provider, model, provider_key, price_version, worst, budgets, idempotency_key
    )
    SELECT $1, $2 + 1, 'dispatched', now() + $20::interval, e.tenant, e.route, e.protocol, e.stream,
        $21, $22, $23, $24, $25, e.budgets, e.idempotency_key
    FROM ended e
    RETURNING 1
),
keyed AS (
    UPDATE llm_keys k
    SET open = k.open + CASE WHEN $4 = 'unknown' THEN 1 ELSE 0 END, billed = k.billed OR $4 = 'settled'
    FROM ended e, begun
    WHERE k.tenant = e.tenant AND k.key = e.idempotency_key AND k.request = $1
    RETURNING 1
),
locked AS MATERIALIZED (
    SELECT b.id
    FROM llm_budgets b
    WHERE b.id = ANY ((SELECT budgets FROM ended)::uuid[]) AND (SELECT count(*) FROM keyed) >= 0
    ORDER BY b.id
    FOR NO KEY UPDATE
),
moved AS (
    UPDATE llm_budgets b
    SET reserved = b.reserved + $25 - CASE WHEN $4 = 'unknown' THEN 0 ELSE e.worst END,
        settled = b.settled + coalesce($5, 0),
        overrun = b.overrun + CASE WHEN $4 = 'settled' THEN greatest($5 - e.worst, 0) ELSE 0 END
    FROM locked, ended e
    WHERE b.id = locked.id AND ($17 <= 0 OR b.settled + b.reserved + $17 <= b.ceiling)
    RETURNING 1
)
SELECT a.state, a.epoch, a.worst, a.provider, EXISTS (SELECT FROM begun),
    coalesce((SELECT place FROM short), 0), coalesce((SELECT room FROM short), 0),
    CASE WHEN EXISTS (SELECT FROM begun) AND (SELECT count(*) FROM moved) <> cardinality($18::uuid[])
        THEN llm_overtaken() END
FROM llm_attempts a
WHERE a.request = $1 AND a.number = $2`

// Next says how the attempt that is dispatched has ended, and reserves another
// one for the same request, in one round trip: a fallback or a retry. Both are
// committed when it returns nil, and the next attempt may be sent.
//
// [*OverBudget] says that the next one does not fit. Nothing was written then:
// try it with a smaller worst case, or end with [Held.Release] and the outcome.
// What the ended attempt gives back counts as room. [ErrFenced] says that the
// attempt was taken over, and the request with it.
//
// After any other error the request is over: nothing more may be sent for it.
func (h *Held) Next(ctx context.Context, previous Outcome, next Attempt) error {
	if err := errors.Join(previous.check(), next.check()); err != nil {
		return err
	}
	h.mu.Lock()
	id, worst, lost := AttemptID{Request: h.request, Number: h.number}, h.worst, h.lost
	h.mu.Unlock()
	if lost {
		return ErrFenced
	}
	delta := next.Worst
	if previous.State != Unknown {
		delta += previous.Cost - worst
	}
	l, until := h.ledger, time.Now().Add(h.lease)
	args := (&closing{id: id, epoch: firstEpoch, from: Dispatched, outcome: previous}).args()[:16]
	if previous.State == Unknown {
		args[4] = nil // the cost is not zero, it is not known
	}
	args = append(args, delta, h.purse.ids, l.firstLook, h.lease,
		next.Provider, next.Model, next.Key, next.PriceVersion, next.Worst)

	var was before
	var place int
	var room int64
	for range maxOvertaken {
		resent, err := l.write(ctx, nextAttempt, args, &was.state, &was.epoch, &was.worst, &was.provider, &was.changed, &place, &room, nil)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrFenced
		case err != nil:
			h.mu.Lock()
			h.lost = true
			h.mu.Unlock()
			if inDoubt(err) {
				h.withdraw(ctx, id.Number+1)
			}
			return failed("reserving the next attempt", err)
		case was.changed, resent && was.epoch == firstEpoch && was.state != Dispatched:
			if was.changed {
				l.noteClosed(ctx, closing{id: id, outcome: previous}, was)
			}
			h.mu.Lock()
			h.number, h.worst, h.until = id.Number+1, next.Worst, until
			h.mu.Unlock()
			return nil
		case was.epoch != firstEpoch || was.state != Dispatched:
			meters().fenced.Add(ctx, 1)
			return ErrFenced
		case place > 0:
			meters().reserved.Add(ctx, 1, labelOverBudget)
			return h.purse.refused(place, room-(delta-next.Worst))
		}
		// It was under way by an earlier send or by the reconciler: look again.
	}
	return failed("reserving the next attempt", errors.New("the attempt never came to rest"))
}
