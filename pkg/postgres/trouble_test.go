package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

// sleeping runs a statement that ends only by force and returns its error.
func sleeping(t *testing.T, pool *pgxpool.Pool) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	ctx := t.Context()
	go func() {
		_, err := pool.Exec(ctx, "SELECT pg_sleep(60) /* in flight */")
		result <- err
	}()
	return result
}

// backend waits for the sleeping statement and returns the process serving it.
func backend(t *testing.T, pool *pgxpool.Pool) (pid int) {
	t.Helper()
	until(t, func() bool {
		const find = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%in flight%' AND state = 'active' AND pid <> pg_backend_pid()"
		return pool.QueryRow(t.Context(), find).Scan(&pid) == nil
	})
	return pid
}

func TestARestartInFlightIsUnavailableAndThePoolRecovers(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*pgtest.Server){
		"by an administrator": (*pgtest.Server).Stop,
		"by a power cut":      (*pgtest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			server := pgtest.Dedicated(t)
			db := server.Database(migrateThings, "things")
			pool := open(t, db.URL)
			inFlight := sleeping(t, pool)
			backend(t, pool)

			down(server)
			requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapError(<-inFlight))
			requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapError(insert(t.Context(), pool, 1)))

			server.Start()
			until(t, func() bool { return insert(t.Context(), pool, 2) == nil })
			require.Equal(t, 1, count(t, pool))
		})
	}
}

func TestATerminatedBackendIsUnavailable(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t, migrateThings, "things").URL)
	inFlight := sleeping(t, pool)
	_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend($1)", backend(t, pool))
	require.NoError(t, err)
	err = <-inFlight
	requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapError(err))
	requireReason(t, apierror.ReasonOutcomeUnknown, postgres.MapWriteError(err))
	require.NoError(t, insert(t.Context(), pool, 1))
}

func TestAServerWithoutAConnectionToSpareIsUnavailable(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t, pgtest.WithMaxConnections(6))
	db := server.Database(migrateThings, "things")
	pool := open(t, db.URL)
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), db.URL)
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	// The pool has one connection; a second request needs another.
	first, err := pool.Acquire(t.Context())
	if err == nil {
		defer first.Release()
		err = insert(t.Context(), pool, 1)
	}
	requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapWriteError(err))
	for _, conn := range held {
		require.NoError(t, conn.Close(t.Context()))
	}
	until(t, func() bool { return insert(t.Context(), pool, 1) == nil })
}

func TestAFullDiskIsUnavailableAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t, pgtest.WithSmallDisk())
	pool := open(t, server.Database(migrateThings, "things").URL)
	server.FillDisk()
	word := strings.Repeat("word", 500)
	var err error
	id := 0
	for ; err == nil && id < 10_000; id++ {
		_, err = pool.Exec(t.Context(), "INSERT INTO things (id, word) VALUES ($1, $2)", id, word)
	}
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "53100", pg.Code)
	requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapWriteError(err))

	server.FreeDisk()
	require.NoError(t, insert(t.Context(), pool, 100_000))
}

func TestALockHeldTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, migrateThings, "things")
	require.NoError(t, insert(t.Context(), db.Pool, 1))
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: db.URL, LockTimeout: 20 * time.Millisecond}, "test", quiet)
	require.NoError(t, err)
	defer pool.Close()
	holder, err := db.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(t.Context()) }()
	_, err = holder.Exec(t.Context(), "SELECT FROM things WHERE id = 1 FOR UPDATE")
	require.NoError(t, err)

	_, err = pool.Exec(t.Context(), "UPDATE things SET word = 'x' WHERE id = 1")
	requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapWriteError(err))
}

func TestAStatementThatTakesTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "slow")
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: db.URL, StatementTimeout: 20 * time.Millisecond}, "test", quiet)
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), "SELECT pg_sleep(60)")
	requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapError(err))
}

func TestADeadlineCancelsTheQueryAndKeepsTheConnection(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t, nil, "deadline").URL)
	require.NoError(t, pool.Ping(t.Context()))
	before := pool.Stat().NewConnsCount()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := pool.Exec(ctx, "SELECT pg_sleep(60)")
	requireReason(t, apierror.ReasonDeadline, apierror.From(postgres.MapError(err)))
	require.NoError(t, pool.Ping(t.Context()))
	require.Equal(t, before, pool.Stat().NewConnsCount())
}

func TestATableAlteredUnderAPreparedStatementIsWorthARetry(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, migrateThings, "things")
	cfg, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	read := func() error {
		rows, err := pool.Query(t.Context(), "SELECT * FROM things")
		require.NoError(t, err)
		rows.Close()
		return rows.Err()
	}
	require.NoError(t, read())
	_, err = db.Pool.Exec(t.Context(), "ALTER TABLE things ADD COLUMN added int")
	require.NoError(t, err)
	requireReason(t, apierror.ReasonDependencyUnavailable, postgres.MapError(read()))
	require.NoError(t, read())
}

func TestErrorsThatTheStoreUnderstandsPassUnchanged(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t, migrateThings, "things").URL)
	require.NoError(t, insert(t.Context(), pool, 1))
	duplicate := insert(t.Context(), pool, 1)
	typed := apierror.New(apierror.ReasonNotFound, "no such thing")
	for _, err := range []error{nil, pgx.ErrNoRows, duplicate, errors.New("of the domain"), context.Canceled, typed} {
		require.Equal(t, err, postgres.MapError(err))
		if !errors.Is(err, context.Canceled) {
			require.Equal(t, err, postgres.MapWriteError(err))
		}
	}
}
