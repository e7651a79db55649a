package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// run is one comparison of our books with the processor's, over [Since, Until).
//
//	begun ─→ taken ─→ a page compared and committed ─→ … ─→ complete
//	           ▲                  │ crash, or the processor does not answer
//	           └── lease over ────┘
type run struct {
	Number       int64
	Since, Until time.Time
	// Phase and Cursor say where to go on.
	Phase  phase
	Cursor string
	// Epoch fences who had the run before.
	Epoch int64
	// Records and Entries count what was compared: of theirs, and of ours.
	Records, Entries int64
	// Failure is why the last try stopped; empty while it goes well.
	Failure      string
	CreateTime   time.Time
	CompleteTime time.Time // zero while it runs
}

const runColumns = `number, since, until, phase, cursor, epoch, records, entries, failure, create_time,
       coalesce(complete_time, '0001-01-01 00:00:00Z')`

func scanRun(row pgx.Row) (*run, error) {
	var r run
	err := row.Scan(&r.Number, &r.Since, &r.Until, &r.Phase, &r.Cursor, &r.Epoch, &r.Records, &r.Entries, &r.Failure,
		&r.CreateTime, &r.CompleteTime)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	r.Since, r.Until = r.Since.UTC(), r.Until.UTC()
	return &r, err
}

// reconciliations are runs and findings in the database.
type reconciliations struct{ pool *pgxpool.Pool }

// window says which time a new run compares.
type window struct {
	// Since is where it begins; zero for where the last one ended, less Overlap.
	Since time.Time
	// Settling is how young an operation may be without being compared.
	Settling time.Duration
	// Overlap is compared twice: clocks differ, and pages have edges.
	Overlap time.Duration
	// Lookback is how far the first run goes.
	Lookback time.Duration
}

// errWindow says that there is nothing to compare since a time.
var errWindow = errors.New("must be before what has settled by now")

// begin starts a run, or joins the one that is under way: the constraint lets
// there be one. All times are of the database's clock, which every replica has.
func (s *reconciliations) begin(ctx context.Context, w window) (r *run, joined bool, err error) {
	const insert = `
INSERT INTO reconciliation_runs (since, until, phase)
SELECT coalesce(
           $1::timestamptz,
           (SELECT max(until) FROM reconciliation_runs WHERE complete_time IS NOT NULL) - $2::interval,
           now() - $3::interval),
       now() - $4::interval,
       $5
ON CONFLICT DO NOTHING
RETURNING ` + runColumns
	const current = `SELECT ` + runColumns + ` FROM reconciliation_runs WHERE complete_time IS NULL`
	var since *time.Time
	if !w.Since.IsZero() {
		since = &w.Since
	}
	for range 3 { // the one to join may end between the two questions
		r, err = scanRun(s.pool.QueryRow(ctx, insert, since, w.Overlap, w.Settling+w.Lookback, w.Settling, firstPhase))
		if emptyWindow(err) {
			return nil, false, errWindow
		}
		if err != nil || r != nil {
			break
		}
		if r, err = scanRun(s.pool.QueryRow(ctx, current)); err != nil || r != nil {
			joined = true
			break
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("begin a run: %w", err)
	}
	if r == nil {
		return nil, false, errors.New("begin a run: others begin and end them all the time")
	}
	return r, joined, nil
}

func emptyWindow(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.ConstraintName == "reconciliation_runs_window"
}

// take takes the run that nobody works on, if there is one.
func (s *reconciliations) take(ctx context.Context, lease time.Duration) (*run, error) {
	const query = `
UPDATE reconciliation_runs
SET epoch = epoch + 1, lease_until = now() + $1::interval
WHERE complete_time IS NULL AND lease_until <= now()
RETURNING ` + runColumns
	r, err := scanRun(s.pool.QueryRow(ctx, query, lease))
	if err != nil {
		return nil, fmt.Errorf("take a run: %w", err)
	}
	return r, nil
}

// giveBack leaves the run to whoever comes after a pause, and says why.
func (s *reconciliations) giveBack(ctx context.Context, r *run, pause time.Duration, failure string) error {
	const query = `
UPDATE reconciliation_runs
SET lease_until = now() + $3::interval, failure = $4
WHERE number = $1 AND epoch = $2 AND complete_time IS NULL`
	if _, err := s.pool.Exec(ctx, query, r.Number, r.Epoch, pause, failure); err != nil {
		return fmt.Errorf("give a run back: %w", err)
	}
	return nil
}

// errTakenOver says that somebody else goes on with the run.
var errTakenOver = errors.New("the run was taken over")

// progress commits what a step has found together with where the next one
// begins, or neither: a crash repeats a step and loses none. Whoever has lost
// the run changes nothing.
func (s *reconciliations) progress(ctx context.Context, r *run, st step, lease time.Duration) (raised []Finding, err error) {
	const advance = `
UPDATE reconciliation_runs
SET phase = $3, cursor = $4, records = records + $5, entries = entries + $6, failure = '',
    lease_until = now() + $7::interval,
    complete_time = CASE WHEN $3 = '` + string(finished) + `' THEN now() END
WHERE number = $1 AND epoch = $2 AND complete_time IS NULL
RETURNING ` + runColumns
	err = postgres.Tx(ctx, s.pool, func(ctx context.Context, tx pgx.Tx) error {
		raised = nil
		next, err := scanRun(tx.QueryRow(ctx, advance, r.Number, r.Epoch, st.Phase, st.Cursor, st.Records, st.Entries, lease))
		if err != nil {
			return fmt.Errorf("advance a run: %w", err)
		}
		if next == nil {
			return errTakenOver
		}
		if raised, err = writeFindings(ctx, tx, r.Number, st); err != nil {
			return err
		}
		if err := writeSeen(ctx, tx, st); err != nil {
			return err
		}
		*r = *next
		return nil
	})
	return raised, err
}

// writeSeen remembers records for the other direction, or forgets them all.
func writeSeen(ctx context.Context, tx pgx.Tx, st step) error {
	if st.Phase == finished {
		if _, err := tx.Exec(ctx, `DELETE FROM reconciliation_seen`); err != nil {
			return fmt.Errorf("forget what was seen: %w", err)
		}
		return nil
	}
	if len(st.Seen) == 0 {
		return nil
	}
	const query = `
INSERT INTO reconciliation_seen (payment, processor_key, kind)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT DO NOTHING`
	keys, payments, kinds := make([]string, len(st.Seen)), make([]string, len(st.Seen)), make([]string, len(st.Seen))
	for i, record := range st.Seen {
		keys[i], payments[i], kinds[i] = record.Key, record.Payment, string(record.Kind)
	}
	if _, err := tx.Exec(ctx, query, payments, keys, kinds); err != nil {
		return fmt.Errorf("remember what was seen: %w", err)
	}
	return nil
}

// get returns a run, the latest if the number is zero, or nil if there is none.
func (s *reconciliations) get(ctx context.Context, number int64) (*run, error) {
	const query = `
SELECT ` + runColumns + `
FROM reconciliation_runs
WHERE $1 = 0 OR number = $1
ORDER BY number DESC
LIMIT 1`
	r, err := scanRun(s.pool.QueryRow(ctx, query, number))
	if err != nil {
		return nil, fmt.Errorf("read a run: %w", err)
	}
	return r, nil
}

// standing is what is open, and when a run was last complete.
type standing struct {
	Open     map[FindingKind]int64
	Complete time.Time // zero if none ever was
	At       time.Time
}

func (s *reconciliations) standing(ctx context.Context) (*standing, error) {
	st := &standing{Open: map[FindingKind]int64{}, At: time.Now()}
	rows, err := s.pool.Query(ctx, `SELECT kind, count(*) FROM reconciliation_findings WHERE state = 'open' GROUP BY kind`)
	if err != nil {
		return nil, fmt.Errorf("count findings: %w", err)
	}
	var kind FindingKind
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&kind, &n}, func() error { st.Open[kind] = n; return nil }); err != nil {
		return nil, fmt.Errorf("count findings: %w", err)
	}
	err = s.pool.QueryRow(ctx, `SELECT coalesce(max(complete_time), '0001-01-01 00:00:00Z') FROM reconciliation_runs`).Scan(&st.Complete)
	if err != nil {
		return nil, fmt.Errorf("find the last run: %w", err)
	}
	return st, nil
}
