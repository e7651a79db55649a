package idempotency_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func partitions(t testing.TB, db *database) []string {
	t.Helper()
	rows, err := db.pool.Query(t.Context(), `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'idempotency_keys'::regclass ORDER BY 1`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

func dayName(days int) string {
	return "idempotency_keys_" + time.Now().UTC().AddDate(0, 0, days).Format("20060102")
}

func exists(t testing.TB, db *database, table string) bool {
	return scalar[bool](t, db, "SELECT to_regclass($1) IS NOT NULL", table)
}

// addDay makes the partition of a day long past.
func addDay(t testing.TB, db *database, days int) string {
	t.Helper()
	conn := connect(t, db)
	require.NoError(t, idempotency.AttachDay(t.Context(), conn, time.Now().UTC().AddDate(0, 0, days)))
	return dayName(days)
}

func connect(t testing.TB, db *database) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func TestMigratingMakesPartitionsFromYesterdayToThreeDaysAhead(t *testing.T) {
	db := newDatabase(t)
	want := []string{dayName(-1), dayName(0), dayName(1), dayName(2), dayName(3)}
	require.Equal(t, want, partitions(t, db))
	require.NoError(t, db.Maintain(t.Context()))
	require.NoError(t, idempotency.Maintain(t.Context(), connect(t, db)))
	require.Equal(t, want, partitions(t, db), "maintaining again changes nothing")
	require.Equal(t, "0", scalar[string](t, db, "SELECT current_setting('lock_timeout')"))
}

func TestAPartitionHasTheIndexesOfItsParent(t *testing.T) {
	db := newDatabase(t)
	require.Equal(t, 2, scalar[int](t, db, `SELECT count(*) FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid
		WHERE i.indrelid = $1::text::regclass`, dayName(0)))
}

func TestAPartitionIsKeptFortyEightHoursPastItsDay(t *testing.T) {
	db := newDatabase(t)
	young, old := addDay(t, db, -2), addDay(t, db, -4)
	require.NoError(t, db.Maintain(t.Context()))
	require.True(t, exists(t, db, young))
	require.False(t, exists(t, db, old))
	_, err := db.charge(t.Context(), callWith(idempotency.NewKeyAt(time.Now().AddDate(0, 0, -4))))
	requireReason(t, err, apierror.ReasonKeyExpired)
}

func TestAPartitionWithAnUndecidedKeyIsKept(t *testing.T) {
	db := newDatabase(t)
	old := addDay(t, db, -10)
	db.exec(t, `INSERT INTO idempotency_keys (key, op, fpv, secret, decided, sealed, tenant, method, fingerprint)
		VALUES ($1, gen_random_uuid(), 1, 1, FALSE, FALSE, 'acme', 'm', '')`, idempotency.NewKeyAt(time.Now().AddDate(0, 0, -10)).String())
	require.NoError(t, db.Maintain(t.Context()))
	require.True(t, exists(t, db, old))
	db.exec(t, "UPDATE idempotency_keys SET decided = TRUE")
	require.NoError(t, db.Maintain(t.Context()))
	require.False(t, exists(t, db, old))
}

// readParent holds a transaction that has read the parent table, which a
// DETACH CONCURRENTLY has to wait for.
func readParent(t *testing.T, db *database) (end func()) {
	t.Helper()
	tx, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT count(*) FROM idempotency_keys")
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback(t.Context())) }
}

func TestDroppingGivesWayToALongTransactionAndIsFinishedLater(t *testing.T) {
	db := newDatabase(t)
	old := addDay(t, db, -10)
	end := readParent(t, db)

	require.NoError(t, db.Maintain(t.Context()), "giving way is no failure")
	require.True(t, scalar[bool](t, db, "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)"),
		"the detach was cancelled half way, by the lock timeout")
	_, err := db.charge(t.Context(), aCall())
	require.NoError(t, err, "requests go on meanwhile")

	end()
	require.NoError(t, db.Maintain(t.Context()))
	require.False(t, exists(t, db, old))
}

func TestRequestsGoOnWhileAPartitionIsDetached(t *testing.T) {
	db := newDatabase(t)
	addDay(t, db, -10)
	end := readParent(t, db)
	done := make(chan error, 1)
	go func() { done <- db.Maintain(t.Context()) }()
	eventually(t, "detaching waits", func() bool {
		return scalar[bool](t, db, "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)")
	})
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := db.charge(ctx, aCall())
		cancel()
		require.NoError(t, err)
	}
	end()
	require.NoError(t, <-done)
}

func TestATableThatACrashLeftDetachedIsDropped(t *testing.T) {
	db := newDatabase(t)
	old := addDay(t, db, -10)
	db.exec(t, "ALTER TABLE idempotency_keys DETACH PARTITION "+old)
	require.NoError(t, db.Maintain(t.Context()))
	require.False(t, exists(t, db, old))
}

func TestMaintenanceRunsOnceAtATime(t *testing.T) {
	db := newDatabase(t)
	db.exec(t, "ALTER TABLE idempotency_keys DETACH PARTITION "+dayName(2))
	db.exec(t, "DROP TABLE "+dayName(2))
	done := make(chan error, 4)
	for range cap(done) {
		go func() { done <- db.Maintain(t.Context()) }()
	}
	for range cap(done) {
		require.NoError(t, <-done)
	}
	require.Len(t, partitions(t, db), 5)
}

func TestRiverRunsMaintenance(t *testing.T) {
	db := newDatabase(t)
	old := addDay(t, db, -10)

	workers := river.NewWorkers()
	job := idempotency.AddMaintenance(workers, db.Store)
	client, err := river.NewClient(riverpgxv5.New(db.pool), &river.Config{
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
		Workers:      workers,
		PeriodicJobs: []*river.PeriodicJob{job},
		Logger:       slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	require.NoError(t, client.Start(ctx))
	eventually(t, "the old partition is gone", func() bool { return !exists(t, db, old) })
	require.NoError(t, client.Stop(t.Context()))
}
