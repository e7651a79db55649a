package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// kindOf is what the methods ask of the processor.
var kindOf = map[string]Kind{
	paymentsv1.PaymentsService_AuthorizePayment_FullMethodName: Authorize,
	paymentsv1.PaymentsService_ChargePayment_FullMethodName:    Charge,
	paymentsv1.PaymentsService_CapturePayment_FullMethodName:   Capture,
	paymentsv1.PaymentsService_VoidPayment_FullMethodName:      Void,
	paymentsv1.PaymentsService_RefundPayment_FullMethodName:    Refund,
}

// booksOf reads our side of some payments, of all tenants and as of one moment:
// a payment that is closed between two reads would seem to have neither an open
// operation nor an entry. A reference that is no id of ours has empty books.
func (r *reconciler) booksOf(ctx context.Context, references []string) (map[string]books, error) {
	all := map[string]books{}
	var ids []uuid.UUID
	for _, reference := range references {
		if id, err := uuid.Parse(reference); err == nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return all, nil
	}
	tx, err := r.runs.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("read our books: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // nothing was written
	if err := readBooks(ctx, tx, ids, all); err != nil {
		return nil, fmt.Errorf("read our books: %w", err)
	}
	open, err := r.keys.UndecidedOf(ctx, tx, ids)
	if err != nil {
		return nil, fmt.Errorf("read our books: %w", err)
	}
	for _, trace := range open {
		if kind, ours := kindOf[trace.Method]; ours {
			b := all[trace.Resource.String()]
			b.OpenKeys = append(b.OpenKeys, trace.ProviderKey(string(kind)))
			all[trace.Resource.String()] = b
		}
	}
	return all, nil
}

func readBooks(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, into map[string]books) error {
	rows, err := tx.Query(ctx, `SELECT `+paymentColumns+` FROM payments WHERE id = ANY ($1)`, ids)
	if err != nil {
		return err
	}
	payments, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Payment, error) { return scanPayment(row) })
	if err != nil {
		return err
	}
	for _, p := range payments {
		into[p.ID.String()] = books{Payment: p}
	}
	const entries = `
SELECT ` + entryColumns + `
FROM ledger_entries e
WHERE payment_id = ANY ($1)
ORDER BY create_time, processor_key`
	rows, err = tx.Query(ctx, entries, ids)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Entry, error) { return scanEntry(row) })
	if err != nil {
		return err
	}
	for _, e := range found {
		b := into[e.Payment.String()]
		b.Entries = append(b.Entries, e)
		into[e.Payment.String()] = b
	}
	return nil
}

const entryColumns = `e.payment_id, e.processor_key, e.kind, e.tenant, e.debit, e.credit, e.amount, e.currency, e.create_time`

func scanEntry(row pgx.Row, more ...any) (Entry, error) {
	var e Entry
	err := row.Scan(append([]any{
		&e.Payment, &e.ProcessorKey, &e.Kind, &e.Tenant, &e.Debit, &e.Credit, &e.Amount, &e.Currency, &e.CreateTime,
	}, more...)...)
	e.CreateTime = e.CreateTime.UTC()
	return e, err
}

// place is where a listing of ours goes on: after this row.
type place struct {
	Time time.Time
	ID   uuid.UUID
	Key  string
}

// entriesIn returns at most limit entries of a time, after a place, and which of
// them the processor's listing has shown.
func (s *reconciliations) entriesIn(ctx context.Context, since, until time.Time, after place, limit int) (entries []Entry, seen []bool, err error) {
	const query = `
SELECT ` + entryColumns + `,
       EXISTS (
           SELECT FROM reconciliation_seen s
           WHERE s.payment = e.payment_id::text
             AND (s.processor_key = e.processor_key
                  OR s.processor_key = '' AND (s.kind = e.kind OR s.kind = 'charge' AND e.kind = 'capture'))
       )
FROM ledger_entries e
WHERE create_time >= $1 AND create_time < $2 AND (create_time, payment_id, processor_key) > ($3, $4, $5)
ORDER BY create_time, payment_id, processor_key
LIMIT $6`
	if after.Time.IsZero() {
		after.Time = since
	}
	rows, err := s.pool.Query(ctx, query, since, until, after.Time, after.ID, after.Key, limit)
	if entries, seen, err = collectSeen(rows, err, scanEntry); err != nil {
		return nil, nil, fmt.Errorf("list entries: %w", err)
	}
	return entries, seen, nil
}

// collectSeen collects rows whose last column says whether the processor's listing
// has shown them.
func collectSeen[T any](rows pgx.Rows, err error, scan func(pgx.Row, ...any) (T, error)) (all []T, seen []bool, _ error) {
	if err != nil {
		return nil, nil, err
	}
	all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) {
		var known bool
		one, err := scan(row, &known)
		seen = append(seen, known)
		return one, err
	})
	return all, seen, err
}

// authorizedIn returns at most limit payments that were begun in a time, are
// authorized and were not shown by the processor's listing.
func (s *reconciliations) authorizedIn(ctx context.Context, since, until time.Time, after place, limit int) (payments []*Payment, seen []bool, err error) {
	const query = `
SELECT ` + paymentColumns + `,
       EXISTS (SELECT FROM reconciliation_seen s WHERE s.payment = p.id::text AND s.kind = 'authorize')
FROM payments p
WHERE state = 'authorized' AND create_time >= $1 AND update_time < $2 AND create_time < $2
  AND (create_time, id) > ($3, $4)
ORDER BY create_time, id
LIMIT $5`
	if after.Time.IsZero() {
		after.Time = since
	}
	rows, err := s.pool.Query(ctx, query, since, until, after.Time, after.ID, limit)
	if payments, seen, err = collectSeen(rows, err, scanPayment); err != nil {
		return nil, nil, fmt.Errorf("list authorizations: %w", err)
	}
	return payments, seen, nil
}

// lookUp asks the processor for one operation of ours, whatever its listing
// shows. Known is false when it has no trace of the key; an operation that it
// has not finished is known and has no verdict.
func (r *reconciler) lookUp(ctx context.Context, key string, request LookupRequest) (outcome Outcome, known bool, err error) {
	outcome, err = r.processor.Lookup(ctx, key, request)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return Outcome{}, false, nil
	case errors.Is(err, errPending):
		return Outcome{}, true, nil
	case err != nil:
		return Outcome{}, false, fmt.Errorf("ask the processor for an operation: %w", err)
	}
	return outcome, true, nil
}
