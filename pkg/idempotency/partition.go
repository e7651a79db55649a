package idempotency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	day = 24 * time.Hour

	// daysAhead is how many days from today have a partition. It is how long
	// maintenance may fail before keys are refused.
	daysAhead = 3

	// patience is how long maintenance waits for a lock. Whoever waits for a
	// lock on the table makes every later query wait behind it, so it waits
	// briefly and comes back.
	patience = 2 * time.Second
)

// partition holds the keys that were minted on one day, in UTC.
type partition struct {
	name    string
	from    time.Time
	pending bool // a DETACH CONCURRENTLY of it was interrupted
}

func partitionOf(date time.Time) partition {
	date = date.UTC().Truncate(day)
	return partition{name: timedKeys.name + date.Format("_20060102"), from: date}
}

// bounds are the first UUID of the day and the first of the next one. UUIDv7
// begin with their time, so a day is a range.
func (p partition) bounds() (from, to uuid.UUID) {
	putTimestamp(&from, p.from.UnixMilli())
	putTimestamp(&to, p.from.Add(day).UnixMilli())
	return from, to
}

func (p partition) identifier() string { return pgx.Identifier{p.name}.Sanitize() }

// Maintain makes the partitions that keys of yesterday to [daysAhead] days from
// now need, and finishes what an earlier run left half done. Call it right
// after migrating: without partitions every UUIDv7 key is refused. It may run
// on several connections at once.
func Maintain(ctx context.Context, conn *pgx.Conn) error {
	return maintained(ctx, conn, func() error {
		_, err := makePartitions(ctx, conn, day)
		return err
	})
}

// maintained runs work on a session that waits for locks only briefly, one
// session at a time.
func maintained(ctx context.Context, conn *pgx.Conn, work func() error) (err error) {
	lock := AdvisoryLock("", Key{text: "maintenance"})
	// Tried, not awaited: a session that waits in a statement holds a snapshot.
	for waiting := newBackoff(time.Minute); ; {
		var ok bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lock).Scan(&ok); err != nil {
			return fmt.Errorf("locking maintenance of idempotency keys: %w", err)
		}
		if ok {
			break
		}
		if !waiting.next(ctx) {
			return errors.Join(errors.New("maintenance of idempotency keys is running elsewhere"), ctx.Err())
		}
	}
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_, unlock := conn.Exec(cleanup, "SELECT pg_advisory_unlock($1), set_config('lock_timeout', '0', false)", lock)
		err = errors.Join(err, unlock)
	}()
	if _, err := conn.Exec(ctx, "SELECT set_config('lock_timeout', $1, false)", fmt.Sprintf("%dms", patience.Milliseconds())); err != nil {
		return fmt.Errorf("limiting how long maintenance waits for locks: %w", err)
	}
	return work()
}

// makePartitions makes what is missing for the window of a retention, and
// returns until when there are partitions without a gap.
func makePartitions(ctx context.Context, conn *pgx.Conn, retention time.Duration) (until time.Time, err error) {
	now, have, err := attached(ctx, conn)
	if err != nil {
		return time.Time{}, err
	}
	for _, p := range have {
		if p.pending {
			if err := finishDetach(ctx, conn, p); err != nil {
				return time.Time{}, err
			}
		}
	}
	first, last := now.Add(-retention).Truncate(day), now.Add(daysAhead*day).Truncate(day)
	for date := first; !date.After(last); date = date.Add(day) {
		exists := slices.ContainsFunc(have, func(p partition) bool { return p.from.Equal(date) && !p.pending })
		if !exists {
			if err := attach(ctx, conn, partitionOf(date)); err != nil {
				return date, err
			}
		}
		until = date.Add(day)
	}
	return until, nil
}

// attached returns the partitions, oldest first, and the database's clock.
func attached(ctx context.Context, conn *pgx.Conn) (time.Time, []partition, error) {
	var (
		now        time.Time
		name       *string
		pending    *bool
		partitions []partition
	)
	// The catalog is read and not the names, except for the day, which the name
	// repeats.
	rows, err := conn.Query(ctx, `SELECT now(), c.relname, i.inhdetachpending
FROM (SELECT) one
LEFT JOIN pg_inherits i ON i.inhparent = $1::text::regclass
LEFT JOIN pg_class c ON c.oid = i.inhrelid
ORDER BY c.relname`, timedKeys.name)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&now, &name, &pending}, func() error {
			if name == nil {
				return nil
			}
			date, err := time.Parse(timedKeys.name+"_20060102", *name)
			if err != nil {
				return fmt.Errorf("partition %s is not named after a day", *name)
			}
			partitions = append(partitions, partition{name: *name, from: date, pending: *pending})
			return nil
		})
	}
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("listing partitions of idempotency keys: %w", err)
	}
	return now.UTC(), partitions, nil
}

// attach makes a partition. PARTITION OF would take ACCESS EXCLUSIVE on the
// parent and stop every request; LIKE and ATTACH take SHARE UPDATE EXCLUSIVE,
// which stops none. One transaction, so that no half-made table stays.
func attach(ctx context.Context, conn *pgx.Conn, p partition) error {
	from, to := p.bounds()
	err := script(ctx, conn,
		"BEGIN",
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (LIKE %s INCLUDING ALL)", p.identifier(), timedKeys.name),
		fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", timedKeys.name, p.identifier(), from, to),
		"COMMIT")
	if err != nil {
		_ = script(context.WithoutCancel(ctx), conn, "ROLLBACK")
		return fmt.Errorf("making partition %s: %w", p.name, err)
	}
	return nil
}

// dropExpired drops partitions whose keys are past anything that could still
// use them: retention has passed for the last key of the day, and a day more.
// It returns those it kept because something in them is undecided.
func dropExpired(ctx context.Context, conn *pgx.Conn, retention time.Duration) (kept []string, err error) {
	now, have, err := attached(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, p := range have {
		if p.from.Add(day + retention + day).After(now) {
			continue
		}
		var undecided bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+p.identifier()+" WHERE NOT decided)").Scan(&undecided); err != nil {
			return kept, fmt.Errorf("looking for undecided keys in %s: %w", p.name, err)
		}
		if undecided {
			kept = append(kept, p.name)
			continue
		}
		if err := detach(ctx, conn, p); err != nil {
			return kept, err
		}
	}
	return kept, dropOrphans(ctx, conn, now.Add(-day-retention-day))
}

// detach takes a partition out without stopping queries, and drops it.
func detach(ctx context.Context, conn *pgx.Conn, p partition) error {
	if p.pending {
		return finishDetach(ctx, conn, p)
	}
	if err := script(ctx, conn, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY", timedKeys.name, p.identifier())); err != nil {
		return fmt.Errorf("detaching partition %s: %w", p.name, err)
	}
	return drop(ctx, conn, p.name)
}

// finishDetach completes a DETACH CONCURRENTLY that was cancelled while it
// waited for older transactions. Until then no other partition can be detached.
func finishDetach(ctx context.Context, conn *pgx.Conn, p partition) error {
	if err := script(ctx, conn, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", timedKeys.name, p.identifier())); err != nil {
		return fmt.Errorf("finishing to detach partition %s: %w", p.name, err)
	}
	return nil // detached; dropOrphans drops it when its day has come
}

// dropOrphans drops tables of expired days that a crash left detached.
func dropOrphans(ctx context.Context, conn *pgx.Conn, before time.Time) error {
	rows, err := conn.Query(ctx, `SELECT c.relname
FROM pg_class c
JOIN pg_class parent ON parent.oid = $1::text::regclass AND parent.relnamespace = c.relnamespace
WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relname ~ ('^' || $1 || '_[0-9]{8}$')`, timedKeys.name)
	if err != nil {
		return fmt.Errorf("listing detached partitions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("listing detached partitions: %w", err)
	}
	for _, name := range names {
		date, err := time.Parse(timedKeys.name+"_20060102", name)
		if err != nil || date.After(before) {
			continue
		}
		if err := drop(ctx, conn, name); err != nil {
			return err
		}
	}
	return nil
}

func drop(ctx context.Context, conn *pgx.Conn, name string) error {
	if err := script(ctx, conn, "DROP TABLE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("dropping partition %s: %w", name, err)
	}
	return nil
}

// bury turns opaque keys past their retention into tombstones, some at a time
// so that no transaction is long.
func bury(ctx context.Context, conn *pgx.Conn, retention time.Duration) error {
	const some = 1000
	for {
		tag, err := conn.Exec(ctx, `UPDATE idempotency_opaque_keys
SET fpv = $3, fingerprint = NULL, response = NULL, resource = NULL
WHERE (key, tenant) IN (
    SELECT key, tenant
    FROM idempotency_opaque_keys
    WHERE fingerprint IS NOT NULL AND decided AND create_time < now() - $1::interval
    ORDER BY create_time
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)`, retention, some, tombstone)
		if err != nil {
			return fmt.Errorf("burying opaque keys: %w", err)
		}
		if tag.RowsAffected() < some {
			return nil
		}
	}
}

// script runs statements one by one without preparing them.
func script(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, sql := range statements {
		if err := conn.PgConn().Exec(ctx, sql).Close(); err != nil {
			return err
		}
	}
	return nil
}

// isLockTimeout reports whether maintenance gave way to somebody else's lock.
func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}

// describe lists names for a log line.
func describe(names []string) string { return strings.Join(names, ", ") }
