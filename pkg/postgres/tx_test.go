package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
)

func insertIn(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "INSERT INTO things (id) VALUES (1)")
	return err
}

func TestTxCommitsOnNilAndRollsBackOnAnError(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t, migrateThings, "things").URL)
	broken := errors.New("of the domain")
	require.Equal(t, broken, postgres.Tx(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		require.NoError(t, insertIn(ctx, tx))
		return broken
	}))
	require.Equal(t, 0, count(t, pool))
	require.NoError(t, postgres.Tx(t.Context(), pool, insertIn))
	require.Equal(t, 1, count(t, pool))
}

func TestTxGivesItsConnectionBackAfterAPanic(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t, migrateThings, "things").URL)
	require.Panics(t, func() {
		_ = postgres.Tx(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			require.NoError(t, insertIn(ctx, tx))
			panic("bug")
		})
	})
	require.Zero(t, pool.Stat().AcquiredConns())
	require.Equal(t, 0, count(t, pool))
}

func TestTxCannotBeginWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	pool := open(t, server.Database(migrateThings, "things").URL)
	server.Stop()
	err := postgres.Tx(t.Context(), pool, insertIn)
	requireReason(t, apierror.ReasonDependencyUnavailable, err)
}

// A line that is cut while the commit is on its way leaves two histories that
// look the same from here.
func TestALineCutDuringCommitIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fromServer bool
		committed  int
	}{
		"before the server has read it": {false, 0},
		"after the server has done it":  {true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t, migrateThings, "things")
			line, url := pgproxy.New(t, db.URL)
			pool := open(t, url)
			err := postgres.Tx(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				defer line.CutBefore(0, test.fromServer, nil)
				return insertIn(ctx, tx)
			})
			requireReason(t, apierror.ReasonOutcomeUnknown, err)
			until(t, func() bool { return count(t, db.Pool) == test.committed })
		})
	}
}

func TestALineCutInABatchIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, migrateThings, "things")
	line, url := pgproxy.New(t, db.URL)
	pool := open(t, url)
	require.NoError(t, insert(t.Context(), pool, 1)) // the statement is prepared now
	line.CutBefore(0, true, nil)
	batch := &pgx.Batch{}
	batch.Queue("INSERT INTO things (id) VALUES ($1)", 2)
	err := pool.SendBatch(t.Context(), batch).Close()
	requireReason(t, apierror.ReasonOutcomeUnknown, postgres.MapWriteError(err))
	until(t, func() bool { return count(t, db.Pool) == 2 })
}
