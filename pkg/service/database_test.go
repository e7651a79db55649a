package service

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

// withDatabase is the shop with a database.
func withDatabase(more ...fx.Option) Definition {
	def := definition(&shop{}, more...)
	def.Migrations = fstest.MapFS{
		idempotency.MigrationName: &fstest.MapFile{Data: idempotency.MigrationSQL()},
		"00002_orders.sql":        &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE orders (id uuid PRIMARY KEY);\n")},
	}
	return def
}

// TestADatabaseServiceIsMigratedWaitedForAndClosedLast goes the way of a
// deployment: replicas that start before the migration wait for it.
func TestADatabaseServiceIsMigratedWaitedForAndClosedLast(t *testing.T) {
	database := pgtest.New(t, nil, "empty")
	environ := environment("HOLDFAST_DATABASE_URL", database.URL)

	var pool *pgxpool.Pool
	def := withDatabase(fx.Invoke(func(p *pgxpool.Pool, lifecycle fx.Lifecycle) {
		pool = p
		lifecycle.Append(fx.StopHook(func(ctx context.Context) error { return p.Ping(ctx) }))
	}))
	migrated := make(chan error, 1)
	go func() {
		_, err := run(t, withDatabase(), environ, "migrate")
		migrated <- err
	}()
	i := launch(t, def, "HOLDFAST_DATABASE_URL", database.URL)
	require.NoError(t, <-migrated)

	var partitions int
	require.NoError(t, pool.QueryRow(t.Context(),
		`SELECT count(*) FROM pg_inherits WHERE inhparent = 'idempotency_keys'::regclass`).Scan(&partitions))
	require.Positive(t, partitions, "keys have somewhere to go")
	eventually(t, func() bool { return strings.Contains(get(t, i.Probe, "/statusz").body, `"state": "up"`) }, "postgres is watched")

	_, err := run(t, withDatabase(), environ, "migrate")
	require.NoError(t, err, "twice is once")
	require.NoError(t, i.drain(), "the module's stop hooks still had the database")
	require.Error(t, pool.Ping(t.Context()), "and it is closed now")
}

func TestADatabaseThatIsAwayIsShownAndChangesNothing(t *testing.T) {
	database := pgtest.New(t, nil, "empty")
	environ := environment("HOLDFAST_DATABASE_URL", database.URL)
	_, err := run(t, withDatabase(), environ, "migrate")
	require.NoError(t, err)
	i := start(t, withDatabase(), "HOLDFAST_DATABASE_URL", database.URL)

	conn, err := pgx.Connect(t.Context(), database.URL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	_, err = conn.Exec(t.Context(), `
		SELECT pg_terminate_backend(pid)
		FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, get(t, i.Probe, "/readyz").StatusCode)
	require.Equal(t, http.StatusOK, get(t, i.Probe, "/livez").StatusCode)
}
