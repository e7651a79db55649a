package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// storedFinding is a finding as the database keeps it.
type storedFinding struct {
	Finding
	Number            int64
	State             FindingState
	FirstRun, LastRun int64
	FoundTime         time.Time
	ClosedTime        time.Time // zero while it is open
	// Settled says that it was closed by what was given back at the processor, or
	// by a person, who left a note.
	Settled bool
	Note    string
}

const findingColumns = `f.number, f.kind, f.state, f.tenant, f.payment, f.operation, f.processor_key, f.processor_id,
       f.ours, f.theirs, f.currency, f.our_amount, f.their_amount, coalesce(f.record_time, '0001-01-01 00:00:00Z'),
       f.first_run, f.last_run, f.found_time, coalesce(f.closed_time, '0001-01-01 00:00:00Z'), f.settled, f.note`

func scanFinding(row pgx.CollectableRow) (storedFinding, error) {
	var f storedFinding
	err := row.Scan(&f.Number, &f.Kind, &f.State, &f.Tenant, &f.Payment, &f.Operation, &f.ProcessorKey, &f.ProcessorID,
		&f.Ours, &f.Theirs, &f.Currency, &f.OurAmount, &f.TheirAmount, &f.RecordTime,
		&f.FirstRun, &f.LastRun, &f.FoundTime, &f.ClosedTime, &f.Settled, &f.Note)
	return f, err
}

// closing is the end of a finding.
type closing struct {
	Number int64
	Kind   FindingKind
	State  FindingState
}

// writeFindings writes what a step has found, and returns those that were not
// open before.
func writeFindings(ctx context.Context, tx pgx.Tx, run int64, st step) ([]Finding, error) {
	var raised []Finding
	var batch pgx.Batch
	for _, f := range st.Findings {
		queueFinding(&batch, run, f, func() { raised = append(raised, f) })
	}
	for _, c := range st.Closings {
		const query = `
UPDATE reconciliation_findings
SET state = $2, closed_run = $3, closed_time = now()
WHERE number = $1 AND state = 'open'`
		batch.Queue(query, c.Number, c.State, run)
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("write findings: %w", err)
	}
	// One after the other: what is given back may be of a finding of this page.
	for _, r := range st.GivenBack {
		known, err := giveBackAt(ctx, tx, run, r)
		if err != nil {
			return nil, err
		}
		if known || r.Kind == Void { // a release takes nothing from anybody
			continue
		}
		f := books{}.finding(MissingHere, r, nil)
		var alone pgx.Batch
		queueFinding(&alone, run, *f, func() { raised = append(raised, *f) })
		if err := tx.SendBatch(ctx, &alone).Close(); err != nil {
			return nil, fmt.Errorf("write findings: %w", err)
		}
	}
	return raised, nil
}

// queueFinding queues a finding. One that is there already is the same one: it is
// only new if it was closed, and stays closed if it was settled outside.
func queueFinding(b *pgx.Batch, run int64, f Finding, raised func()) {
	const query = `
WITH before AS (
    SELECT state FROM reconciliation_findings WHERE kind = $1 AND subject = $2
)
INSERT INTO reconciliation_findings AS f (kind, subject, state, tenant, payment, operation, processor_key, processor_id,
    ours, theirs, currency, our_amount, their_amount, record_time, first_run, last_run)
VALUES ($1, $2, 'open', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)
ON CONFLICT (kind, subject) DO UPDATE
SET state = 'open', tenant = excluded.tenant, ours = excluded.ours, theirs = excluded.theirs,
    our_amount = excluded.our_amount, their_amount = excluded.their_amount, currency = excluded.currency,
    last_run = excluded.last_run, closed_run = NULL, closed_time = NULL
WHERE NOT f.settled
RETURNING NOT EXISTS (SELECT FROM before WHERE state = 'open')`
	var recorded *time.Time
	if !f.RecordTime.IsZero() {
		recorded = &f.RecordTime
	}
	b.Queue(query, f.Kind, f.subject(), f.Tenant, f.Payment, f.Operation, f.ProcessorKey, f.ProcessorID,
		f.Ours, f.Theirs, f.Currency, f.OurAmount, f.TheirAmount, recorded, run).
		Query(func(rows pgx.Rows) error {
			var fresh bool
			_, err := pgx.ForEachRow(rows, []any{&fresh}, func() error {
				if fresh {
					raised()
				}
				return nil
			})
			return err
		})
}

// giveBackAt notes on the findings of a charge that something of it was given
// back at the processor, and settles them when nothing of it is left. It returns
// false if nothing is known of the charge. Noting it again changes nothing: runs
// overlap.
func giveBackAt(ctx context.Context, tx pgx.Tx, run int64, r Record) (known bool, err error) {
	const note = `
UPDATE reconciliation_findings
SET given_back = given_back || jsonb_build_object($2::text, $3::bigint)
WHERE processor_id = $1 AND operation IN ('authorize', 'charge', 'capture')`
	tag, err := tx.Exec(ctx, note, r.ProcessorID, r.Key+" "+r.Time.UTC().Format(time.RFC3339Nano), r.Amount.Minor)
	if err != nil {
		return false, fmt.Errorf("note what was given back: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	// What was reserved and then taken in part is given back when that part is.
	const settle = `
UPDATE reconciliation_findings f
SET settled = TRUE, state = 'resolved', closed_run = $2, closed_time = now()
WHERE processor_id = $1 AND NOT settled AND operation IN ('authorize', 'charge', 'capture')
  AND ($3 OR (SELECT sum(amount::bigint) FROM jsonb_each_text(f.given_back) AS back (key, amount))
      >= (SELECT min(their_amount) FROM reconciliation_findings WHERE processor_id = $1 AND operation IN ('authorize', 'charge', 'capture')))`
	if _, err := tx.Exec(ctx, settle, r.ProcessorID, run, r.Kind == Void); err != nil {
		return false, fmt.Errorf("settle what was given back: %w", err)
	}
	// It may have been found before the charge that it is of.
	const own = `
UPDATE reconciliation_findings
SET settled = TRUE, state = 'resolved', closed_run = $3, closed_time = now()
WHERE kind = $1 AND subject = $2 AND NOT settled`
	if _, err := tx.Exec(ctx, own, MissingHere, books{}.finding(MissingHere, r, nil).subject(), run); err != nil {
		return false, fmt.Errorf("settle what was given back: %w", err)
	}
	return true, nil
}

// errNoFinding says that there is no such finding.
var errNoFinding = errors.New("no such finding")

// acknowledge closes a finding for good. One that is closed already stays as it
// is, so that asking again changes nothing.
func (s *reconciliations) acknowledge(ctx context.Context, number int64, note string) (storedFinding, error) {
	const settle = `
UPDATE reconciliation_findings
SET settled = TRUE, note = $2, state = 'resolved', closed_time = now(), closed_run = last_run
WHERE number = $1 AND state = 'open'`
	if _, err := s.pool.Exec(ctx, settle, number, note); err != nil {
		return storedFinding{}, fmt.Errorf("acknowledge a finding: %w", err)
	}
	found, err := s.findings(ctx, `SELECT `+findingColumns+` FROM reconciliation_findings f WHERE number = $1`, number)
	if err != nil {
		return storedFinding{}, err
	}
	if len(found) == 0 {
		return storedFinding{}, errNoFinding
	}
	return found[0], nil
}

// openFindings returns at most limit findings that are open, in the order in
// which they were first found.
func (s *reconciliations) openFindings(ctx context.Context, after int64, limit int) ([]storedFinding, error) {
	const query = `
SELECT ` + findingColumns + `
FROM reconciliation_findings f
WHERE state = 'open' AND number > $1
ORDER BY number
LIMIT $2`
	return s.findings(ctx, query, after, limit)
}

// findingsOf returns at most limit findings that were open in a run: also those
// that it closed, and those that were found before it.
func (s *reconciliations) findingsOf(ctx context.Context, run, after int64, limit int) ([]storedFinding, error) {
	const query = `
SELECT ` + findingColumns + `
FROM reconciliation_findings f
WHERE first_run <= $1 AND coalesce(closed_run, $1) >= $1 AND number > $2
ORDER BY number
LIMIT $3`
	return s.findings(ctx, query, run, after, limit)
}

func (s *reconciliations) findings(ctx context.Context, query string, args ...any) ([]storedFinding, error) {
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list findings: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanFinding)
	if err != nil {
		return nil, fmt.Errorf("list findings: %w", err)
	}
	return found, nil
}
