package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Balance is how a budget stands, in nano-dollars.
type Balance struct {
	Budget
	// Settled was billed; Reserved may still be.
	Settled, Reserved int64
	// Overrun is the part of Settled that was above what had been reserved for
	// it. Anything but zero says that a worst case was thought too small.
	Overrun int64
}

// Left is what may still be reserved. It is below zero when a provider billed
// more than was thought possible, or the limit was lowered.
func (b Balance) Left() int64 { return b.Limit - b.Settled - b.Reserved }

// Balance returns the budgets of the current periods that a tenant draws on: its
// own, and those of all together. A budget that nobody has drawn on yet is not
// among them.
func (l *Ledger) Balance(ctx context.Context, tenant string) ([]Balance, error) {
	const query = `
SELECT tenant, name, period, starts, coalesce(ends, '0001-01-01 00:00:00Z'), ceiling, settled, reserved, overrun
FROM llm_budgets
WHERE tenant IN ('', $1) AND starts <= now() AND (ends IS NULL OR ends > now())
ORDER BY tenant DESC, name, period`
	rows, err := l.pool.Query(ctx, query, tenant)
	if err != nil {
		return nil, failed("reading budgets", err)
	}
	balances, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Balance, error) {
		var b Balance
		err := row.Scan(&b.Tenant, &b.Name, &b.Period, &b.Start, &b.End, &b.Limit, &b.Settled, &b.Reserved, &b.Overrun)
		b.Start, b.End = b.Start.UTC(), b.End.UTC()
		if b.End.Year() <= 1 {
			b.End = time.Time{}
		}
		return b, err
	})
	if err != nil {
		return nil, failed("reading budgets", err)
	}
	return balances, nil
}
