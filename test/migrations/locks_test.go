// Package migrations shows on a real server what the rules of
// tools/migrationlint protect from: who waits for what, what is rewritten, and
// what is left behind. It has tests only.
package migrations

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

// table is what migrations change here, with rows and a table that refers to it.
const table = `
CREATE TABLE parcels (id integer PRIMARY KEY, note varchar(10), weight integer);
INSERT INTO parcels SELECT n, 'note', n FROM generate_series(1, 100) n;
CREATE TABLE stops (id integer PRIMARY KEY, parcel_id integer);
ALTER TABLE parcels ADD CONSTRAINT noted CHECK (note IS NOT NULL) NOT VALID`

func database(t *testing.T) *pgtest.Database {
	t.Helper()
	db := pgtest.New(t, nil, "locks")
	_, err := db.Pool.Exec(t.Context(), table)
	require.NoError(t, err)
	return db
}

// connect is a session of its own that gives up waiting for a lock quickly.
func connect(t *testing.T, db *pgtest.Database) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) })
	run(t, conn, `SET lock_timeout = '200ms'`)
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err, sql)
}

// passes reports whether a statement gets its lock.
func passes(t *testing.T, conn *pgx.Conn, sql string) bool {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	if err != nil {
		require.ErrorContains(t, err, "lock timeout", sql)
	}
	return err == nil
}

// TestWhoMustWaitForWhat runs each statement in a transaction that stays open,
// as one does that takes long, and tries to read and to write beside it.
func TestWhoMustWaitForWhat(t *testing.T) {
	t.Parallel()
	db := database(t)
	migration, others := connect(t, db), connect(t, db)
	for _, test := range []struct {
		statement   string
		read, write bool // may others?
	}{
		{`ALTER TABLE parcels VALIDATE CONSTRAINT noted`, true, true},
		{`CREATE TABLE more (id integer PRIMARY KEY)`, true, true},
		{`CREATE INDEX ON parcels (weight)`, true, false},
		{`ALTER TABLE stops ADD FOREIGN KEY (parcel_id) REFERENCES parcels (id)`, true, false},
		{`UPDATE parcels SET note = 'new'`, true, false},
		{`ALTER TABLE parcels ADD COLUMN height integer`, false, false},
		{`ALTER TABLE parcels ADD CHECK (weight > 0)`, false, false},
		{`ALTER TABLE parcels ALTER COLUMN weight SET NOT NULL`, false, false},
		{`ALTER TABLE parcels ALTER COLUMN weight TYPE bigint`, false, false},
		{`ALTER TABLE parcels ADD UNIQUE (weight)`, false, false},
		{`CLUSTER parcels USING parcels_pkey`, false, false},
		{`DROP INDEX parcels_by_note`, false, false},
		{`LOCK TABLE parcels`, false, false},
		{`TRUNCATE parcels CASCADE`, false, false},
	} {
		run(t, others, `CREATE INDEX IF NOT EXISTS parcels_by_note ON parcels (note)`)
		run(t, migration, `BEGIN`)
		run(t, migration, test.statement)
		require.Equal(t, test.read, passes(t, others, `SELECT note FROM parcels WHERE id = 1`), "reading beside %s", test.statement)
		require.Equal(t, test.write, passes(t, others, `UPDATE parcels SET weight = 1 WHERE id = 1`), "writing beside %s", test.statement)
		run(t, migration, `ROLLBACK`)
	}
}

// TestWhoWaitsForALockMakesEverybodyBehindItWait is why migrations have a
// lock_timeout: a statement that would take a millisecond waits for one long
// reader, and every short reader waits for that statement.
func TestWhoWaitsForALockMakesEverybodyBehindItWait(t *testing.T) {
	t.Parallel()
	db := database(t)
	long, migration, short := connect(t, db), connect(t, db), connect(t, db)
	run(t, long, `BEGIN`)
	run(t, long, `SELECT count(*) FROM parcels`)
	require.True(t, passes(t, short, `SELECT note FROM parcels WHERE id = 1`), "readers do not wait for each other")

	run(t, migration, `SET lock_timeout = 0`)
	altered := make(chan error, 1)
	go func() {
		_, err := migration.Exec(context.WithoutCancel(t.Context()), `ALTER TABLE parcels ADD COLUMN height integer`)
		altered <- err
	}()
	awaitWaiter(t, db)
	require.False(t, passes(t, short, `SELECT note FROM parcels WHERE id = 1`))

	run(t, long, `COMMIT`)
	require.NoError(t, <-altered)
	run(t, migration, `SET lock_timeout = '200ms'`)
	run(t, long, `BEGIN`)
	run(t, long, `SELECT count(*) FROM parcels`)
	require.False(t, passes(t, migration, `ALTER TABLE parcels ADD COLUMN width integer`), "with a timeout it gives up")
	require.True(t, passes(t, short, `SELECT note FROM parcels WHERE id = 1`), "and lets the others pass")
	run(t, long, `COMMIT`)
}

func awaitWaiter(t *testing.T, db *pgtest.Database) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waits bool
		err := db.Pool.QueryRow(context.WithoutCancel(t.Context()), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 10*time.Millisecond)
}

// TestWhatRewritesTheTable compares the file that Postgres keeps a table in.
func TestWhatRewritesTheTable(t *testing.T) {
	t.Parallel()
	db := database(t)
	conn := connect(t, db)
	file := func() (n uint32) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT pg_relation_filenode('parcels')`).Scan(&n))
		return n
	}
	for _, test := range []struct {
		change   string
		rewrites bool
	}{
		{`ADD COLUMN a text`, false},
		{`ADD COLUMN b text NOT NULL DEFAULT 'none'`, false},
		{`ADD COLUMN c timestamptz DEFAULT now()`, false},
		{`ADD COLUMN d uuid DEFAULT gen_random_uuid()`, true},
		{`ADD COLUMN e timestamptz DEFAULT clock_timestamp()`, true},
		{`ADD COLUMN f bigserial`, true},
		{`ADD COLUMN g integer GENERATED ALWAYS AS (id * 2) STORED`, true},
		{`ALTER COLUMN weight TYPE numeric`, true},
		{`ALTER COLUMN note TYPE varchar(20)`, false}, // and is refused all the same: see below
	} {
		before := file()
		run(t, conn, `ALTER TABLE parcels `+test.change)
		require.Equal(t, test.rewrites, file() != before, test.change)
	}
}

// TestANewTypeFailsStatementsThatArePreparedAlready: also one that rewrites
// nothing. Every connection of the release that serves has such statements.
func TestANewTypeFailsStatementsThatArePreparedAlready(t *testing.T) {
	t.Parallel()
	db := database(t)
	conn := connect(t, db)
	_, err := conn.Prepare(t.Context(), "read", `SELECT note FROM parcels WHERE id = 1`)
	require.NoError(t, err)
	run(t, conn, `ALTER TABLE parcels ADD COLUMN height integer`)
	run(t, conn, "read")
	run(t, conn, `ALTER TABLE parcels ALTER COLUMN note TYPE varchar(20)`)
	_, err = conn.Exec(t.Context(), "read")
	require.ErrorContains(t, err, "cached plan must not change result type")
}

// TestAFailedConcurrentIndexIsTakenForAGoodOne is why a migration drops the
// index before it builds it.
func TestAFailedConcurrentIndexIsTakenForAGoodOne(t *testing.T) {
	t.Parallel()
	db := database(t)
	conn := connect(t, db)
	valid := func() (ok bool) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_note'::regclass`).Scan(&ok))
		return ok
	}
	_, err := conn.Exec(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY one_note ON parcels (note)`)
	require.ErrorContains(t, err, "could not create unique index")
	run(t, conn, `UPDATE parcels SET note = 'note' || id`)

	run(t, conn, `CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_note ON parcels (note)`)
	require.False(t, valid(), "it says that all is well, and nothing keeps notes unique")

	run(t, conn, `DROP INDEX CONCURRENTLY IF EXISTS one_note`)
	run(t, conn, `CREATE UNIQUE INDEX CONCURRENTLY one_note ON parcels (note)`)
	require.True(t, valid())
}
