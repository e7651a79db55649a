package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// store reads and writes payments. Every query carries the tenant. Writes
// belong to an idempotency key and run in its transaction; the store opens none
// of its own.
type store struct{ pool *pgxpool.Pool }

// errNotFound says that the tenant has no such payment.
var errNotFound = errors.New("no such payment")

// insertPayment is the first commit of a payment: the row is there, in
// processing, before anything is asked of the processor. open_since is by the
// database's clock because the processor's horizon is measured from it.
var insertPayment = idempotency.Compile(`
INSERT INTO payments (id, tenant, reference, payment_method, currency, amount, state,
                      open_operation, open_amount, open_since, create_time, update_time)
SELECT $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bigint, $7::text,
       $8::text, $9::bigint, clock_timestamp(), $10::timestamptz, $10::timestamptz
FROM claimed`)

func insertPaymentArgs(p *Payment) []any {
	return []any{
		p.ID, p.Tenant, p.Reference, p.PaymentMethod, p.Amount.Currency, p.Amount.Minor, p.State,
		p.Open.Kind, p.Open.Amount, p.CreateTime,
	}
}

const paymentColumns = `id, tenant, reference, payment_method, currency, amount, state, captured, refunded,
       decline_code, processor_id, open_operation, open_amount, create_time, update_time`

func scanPayment(row pgx.Row, more ...any) (*Payment, error) {
	var p Payment
	var kind *Kind
	var amount *int64
	err := row.Scan(append([]any{
		&p.ID, &p.Tenant, &p.Reference, &p.PaymentMethod, &p.Amount.Currency, &p.Amount.Minor, &p.State,
		&p.Captured, &p.Refunded, &p.DeclineCode, &p.ProcessorID, &kind, &amount, &p.CreateTime, &p.UpdateTime,
	}, more...)...)
	if err != nil {
		return nil, err
	}
	if kind != nil && amount != nil {
		p.Open = &Operation{Kind: *kind, Amount: *amount}
	}
	p.CreateTime, p.UpdateTime = p.CreateTime.UTC(), p.UpdateTime.UTC()
	return &p, nil
}

// lock queues the read of one payment for a write that depends on it. The lock
// is held to the end of the transaction: two refunds see each other's sums.
func lock(b *pgx.Batch, tenant string, id uuid.UUID, into **Payment) {
	const query = `
SELECT ` + paymentColumns + `
FROM payments
WHERE tenant = $1 AND id = $2
FOR UPDATE`
	*into = nil // a second try starts from nothing
	b.Queue(query, tenant, id).QueryRow(func(row pgx.Row) error {
		p, err := scanPayment(row)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // into stays nil, and whoever decides answers not found
		}
		*into = p
		return err
	})
}

// writeOpen queues the first commit of an operation on a locked payment.
func writeOpen(b *pgx.Batch, p *Payment) {
	const query = `
UPDATE payments
SET open_operation = $3, open_amount = $4, open_since = clock_timestamp(), decline_code = $5, update_time = $6
WHERE tenant = $1 AND id = $2`
	b.Queue(query, p.Tenant, p.ID, p.Open.Kind, p.Open.Amount, p.DeclineCode, p.UpdateTime)
}

// writeClosed queues the second commit: the outcome, and the ledger entry if
// money moved. The row must still have the operation open. The key's
// transaction undoes everything if a write matches no row, or it would commit
// an answer for a write that did not happen.
func writeClosed(b *pgx.Batch, p *Payment, closed Kind, e *Entry) {
	const query = `
UPDATE payments
SET state = $4, captured = $5, refunded = $6, decline_code = $7, processor_id = $8,
    open_operation = NULL, open_amount = NULL, open_since = NULL, update_time = $9
WHERE tenant = $1 AND id = $2 AND open_operation = $3`
	b.Queue(query, p.Tenant, p.ID, closed,
		p.State, p.Captured, p.Refunded, p.DeclineCode, p.ProcessorID, p.UpdateTime)
	if e != nil {
		writeEntry(b, e)
	}
}

func writeEntry(b *pgx.Batch, e *Entry) {
	const query = `
INSERT INTO ledger_entries (payment_id, processor_key, tenant, kind, debit, credit, currency, amount, create_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	b.Queue(query, e.Payment, e.ProcessorKey, e.Tenant, e.Kind, e.Debit, e.Credit, e.Currency, e.Amount, e.CreateTime)
}

// get returns one payment of the tenant, or errNotFound.
func (s *store) get(ctx context.Context, tenant string, id uuid.UUID) (*Payment, error) {
	const query = `
SELECT ` + paymentColumns + `
FROM payments
WHERE tenant = $1 AND id = $2`
	p, err := scanPayment(s.pool.QueryRow(ctx, query, tenant, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read a payment: %w", err)
	}
	return p, nil
}

// getOpen returns a payment and for how long its operation has been open, by
// the database's clock.
func (s *store) getOpen(ctx context.Context, tenant string, id uuid.UUID) (*Payment, time.Duration, error) {
	const query = `
SELECT ` + paymentColumns + `, clock_timestamp() - coalesce(open_since, clock_timestamp())
FROM payments
WHERE tenant = $1 AND id = $2`
	var age time.Duration
	p, err := scanPayment(s.pool.QueryRow(ctx, query, tenant, id), &age)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, errNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read an open payment: %w", err)
	}
	return p, age, nil
}

// filter selects payments of a tenant; empty fields select all.
type filter struct {
	Tenant    string
	Reference string
	State     State
}

// position is where a page begins: after this payment, going back in time.
type position struct {
	Time time.Time
	ID   uuid.UUID
}

// newest is the position before the first page.
var newest = position{Time: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), ID: uuid.Max}

// list returns at most limit payments after the position, newest first. It
// orders by what never changes, so that no write moves a payment across a page.
func (s *store) list(ctx context.Context, f filter, after position, limit int) ([]*Payment, error) {
	const query = `
SELECT ` + paymentColumns + `
FROM payments
WHERE tenant = $1
  AND ($2 = '' OR reference = $2)
  AND ($3 = '' OR state = $3)
  AND (create_time, id) < ($4, $5)
ORDER BY create_time DESC, id DESC
LIMIT $6`
	rows, err := s.pool.Query(ctx, query, f.Tenant, f.Reference, f.State, after.Time, after.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	payments, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Payment, error) { return scanPayment(row) })
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	return payments, nil
}

// referenceTaken says whether a commit failed because the tenant has a live
// payment for the reference.
func referenceTaken(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505" && pg.ConstraintName == "payments_open_reference"
}
