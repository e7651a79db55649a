package pgtest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func migrateThings(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CREATE TABLE things (id int PRIMARY KEY)")
	return err
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			db := New(t, migrateThings, "things")
			_, err := db.Pool.Exec(t.Context(), "INSERT INTO things VALUES (1)")
			require.NoError(t, err)
		})
	}
}

func TestATemplateIsMigratedOnce(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	migrate := func(ctx context.Context, url string) error {
		calls.Add(1)
		return migrateThings(ctx, url)
	}
	// Not at all if a server that outlives this process has it already.
	for range 3 {
		New(t, migrate, "counted "+t.Name())
	}
	require.LessOrEqual(t, calls.Load(), int32(1))
}

func TestAMigrationThatFailsLeavesNoTemplate(t *testing.T) {
	t.Parallel()
	shared, err := sharedHost()
	require.NoError(t, err)
	broken := errors.New("broken")
	fail := func(context.Context, string) error { return broken }
	_, err = shared.clone(t.Context(), fail, "fails")
	require.ErrorIs(t, err, broken)
	require.NoError(t, shared.do(t.Context(), func(conn *pgx.Conn) error {
		left, err := names(t.Context(), conn, `SELECT datname FROM pg_database WHERE datname LIKE 'pgtest\_draft\_fails\_%' OR datname LIKE 'pgtest\_template\_fails\_%'`)
		require.Empty(t, left)
		return err
	}))
}

func TestADatabaseIsDroppedWithItsTest(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) { name = New(t, nil, "dropped").Name })
	shared, err := sharedHost()
	require.NoError(t, err)
	require.NoError(t, shared.do(t.Context(), func(conn *pgx.Conn) error {
		left, err := names(t.Context(), conn, "SELECT datname FROM pg_database WHERE datname = '"+name+"'")
		require.Empty(t, left)
		return err
	}))
}

func TestSweepDropsWhatKilledRunsLeft(t *testing.T) {
	t.Parallel()
	shared, err := sharedHost()
	require.NoError(t, err)
	young, err := shared.clone(t.Context(), nil, "young")
	require.NoError(t, err)
	defer shared.drop(t.Context(), young)
	old, err := shared.clone(t.Context(), nil, "old")
	require.NoError(t, err)
	require.NoError(t, shared.do(t.Context(), func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), "COMMENT ON DATABASE "+quote(old)+" IS '2001-01-01T00:00:00Z'")
		return err
	}))
	require.NoError(t, shared.sweep(t.Context()))
	require.NoError(t, shared.do(t.Context(), func(conn *pgx.Conn) error {
		left, err := names(t.Context(), conn, "SELECT datname FROM pg_database WHERE datname IN ('"+old+"', '"+young+"')")
		require.Equal(t, []string{young}, left)
		return err
	}))
}
