package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

func TestReplicasMayMigrateAtTheSameTime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "migrate")
	errs := make([]error, 4)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = postgres.Migrate(t.Context(), db.URL, things, quiet, postgres.WithRiver()) })
	}
	group.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	var applied int
	require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM goose_db_version WHERE version_id > 0").Scan(&applied))
	require.Equal(t, 2, applied)
	require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM river_job").Scan(&applied))
}

func TestMigrateCreatesTheDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	url := postgres.WithDatabase(server.URL, "orders")
	require.NoError(t, postgres.Migrate(t.Context(), url, things, quiet))
	require.Equal(t, 0, count(t, open(t, url)))
}

func TestMigrateWithoutAServerGivesUpWithOneError(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	server.Stop()
	err := postgres.Migrate(t.Context(), server.URL+"&dbname=orders", things, quiet, postgres.WithConnectBound(200*time.Millisecond))
	require.ErrorContains(t, err, "no Postgres at")
}

func TestAMigrationStepsAsideForALockAndTriesAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, migrateThings, "things")
	later := fstest.MapFS{"00003_later.sql": {Data: []byte("-- +goose Up\nALTER TABLE things ADD COLUMN later text;\n")}}
	for name, file := range things {
		later[name] = file
	}
	// A long report reads the table.
	report, err := db.Pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = report.Exec(t.Context(), "SELECT count(*) FROM things")
	require.NoError(t, err)

	var log logbook
	migrated := make(chan error, 1)
	go func() {
		migrated <- postgres.Migrate(t.Context(), db.URL, later, log.logger(), postgres.WithLockTimeout(50*time.Millisecond, 100))
	}()
	until(t, func() bool { return strings.Count(log.String(), "waits for a lock") >= 2 })
	require.NoError(t, insert(t.Context(), db.Pool, 1), "requests pass while the migration waits")
	require.NoError(t, report.Commit(t.Context()))
	require.NoError(t, <-migrated)
}

func TestAMigrationGivesUpOnALockThatIsNeverFree(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "locked")
	_, err := db.Pool.Exec(t.Context(), "CREATE TABLE things (id int)")
	require.NoError(t, err)
	holder, err := db.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(context.Background()) }()
	_, err = holder.Exec(t.Context(), "LOCK TABLE things")
	require.NoError(t, err)
	alter := fstest.MapFS{"00001_alter.sql": {Data: []byte("-- +goose Up\nALTER TABLE things ADD COLUMN word text;\n")}}
	err = postgres.Migrate(t.Context(), db.URL, alter, quiet, postgres.WithLockTimeout(10*time.Millisecond, 2))
	require.ErrorContains(t, err, "lock timeout")
}

func TestABrokenMigrationNamesItselfAndIsNotRepeated(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "broken")
	broken := fstest.MapFS{"00001_broken.sql": {Data: []byte("-- +goose Up\nCREATE TABLE broken (id nonsense);\n")}}
	err := postgres.Migrate(t.Context(), db.URL, broken, quiet)
	require.ErrorContains(t, err, "version:1")
	require.ErrorContains(t, err, "nonsense")
}

func TestWaitForSchemaReturnsWhenTheMigrationHasRun(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "wait")
	want := postgres.Latest(things)
	require.Equal(t, int64(2), want)

	version, err := postgres.SchemaVersion(t.Context(), db.Pool)
	require.NoError(t, err)
	require.Zero(t, version)

	waited := make(chan error, 1)
	go func() { waited <- postgres.WaitForSchema(t.Context(), db.Pool, want) }()
	require.NoError(t, postgres.Migrate(t.Context(), db.URL, things, quiet))
	require.NoError(t, <-waited)
}

func TestWaitForSchemaAcceptsTheSchemaOfTheNextRelease(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, migrateThings, "things")
	require.NoError(t, postgres.WaitForSchema(t.Context(), db.Pool, 1))
}

func TestWaitForSchemaSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, migrateThings, "things")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := postgres.WaitForSchema(ctx, db.Pool, 7)
	require.ErrorContains(t, err, "schema version 7, the database has 2")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
