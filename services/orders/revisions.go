package orders

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// Every change of an order leaves a row in order_revisions, written by the
// statement that makes the change; see insertOrderSQL and updateOrder. A change
// is made over the version before it and locks the order, so the versions of one
// order commit in their order: whoever has read up to one misses none before it.

// selectRevisions reads what an order was at each version after one, as orders.
// Lines, totals and times of creation are the order's own: they never change.
//
// The last state comes from the order itself if it has no row: the release before
// this one changes orders and writes none. What that release changed twice
// between two reads is read once.
const selectRevisions = `
SELECT o.id, o.tenant, r.state, r.version, o.currency, o.total, o.payment_method, o.charge_key,
       r.payment_id, r.decline_code, r.contact_email, r.shipping_note, o.edited_from,
       o.create_time, r.update_time, l.product_ids, l.quantities, l.unit_prices
FROM orders o
` + joinLines + `
CROSS JOIN LATERAL (
    SELECT version, state, payment_id, decline_code, contact_email, shipping_note, update_time
    FROM order_revisions
    WHERE order_id = o.id AND version > $3
    UNION ALL
    SELECT o.version, o.state, o.payment_id, o.decline_code, o.contact_email, o.shipping_note, o.update_time
    WHERE o.version > $3
      AND NOT EXISTS (SELECT FROM order_revisions WHERE order_id = o.id AND version = o.version)
    ORDER BY version
    LIMIT $4
) r
WHERE o.tenant = $1 AND o.id = $2
ORDER BY r.version`

// revisions returns at most limit revisions of the tenant's order, those after a
// version only, in their order.
func (s *store) revisions(ctx context.Context, tenant string, id uuid.UUID, after int64, limit int) ([]*Order, error) {
	rows, err := s.pool.Query(ctx, selectRevisions, tenant, id, after, limit)
	found, err := collect(rows, err, scanOrder)
	if err != nil {
		return nil, fmt.Errorf("read revisions: %w", err)
	}
	return found, nil
}

// selectChanged has no tenant: it tells who was let in already that there is
// something to read, and nothing of it.
const selectChanged = `
SELECT o.id, o.version
FROM unnest($1::uuid[], $2::bigint[]) AS watched (id, seen)
JOIN orders o ON o.id = watched.id
WHERE o.version > watched.seen`

// changed returns the versions of those orders that have one after the version
// named beside them.
func (s *store) changed(ctx context.Context, ids []uuid.UUID, seen []int64) (map[uuid.UUID]int64, error) {
	rows, err := s.pool.Query(ctx, selectChanged, ids, seen)
	if err != nil {
		return nil, fmt.Errorf("look for changes: %w", err)
	}
	defer rows.Close()
	found := map[uuid.UUID]int64{}
	for rows.Next() {
		var (
			id      uuid.UUID
			version int64
		)
		if err := rows.Scan(&id, &version); err != nil {
			return nil, fmt.Errorf("look for changes: %w", err)
		}
		found[id] = version
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for changes: %w", err)
	}
	return found, nil
}
