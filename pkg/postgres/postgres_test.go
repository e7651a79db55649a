package postgres_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

var quiet = slog.New(slog.DiscardHandler)

// things is the schema of these tests.
var things = fstest.MapFS{
	"00001_things.sql": {Data: []byte("-- +goose Up\nCREATE TABLE things (id int PRIMARY KEY, word text NOT NULL DEFAULT '');\n")},
	"00002_more.sql":   {Data: []byte("-- +goose Up\nALTER TABLE things ADD COLUMN more text;\n")},
}

func migrateThings(ctx context.Context, url string) error {
	return postgres.Migrate(ctx, url, things, quiet)
}

// open opens a pool as a service does.
func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: url, MaxConns: 4}, "test", quiet)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func insert(ctx context.Context, pool *pgxpool.Pool, id int) error {
	_, err := pool.Exec(ctx, "INSERT INTO things (id) VALUES ($1)", id)
	return err
}

func count(t *testing.T, pool *pgxpool.Pool) int {
	t.Helper()
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM things").Scan(&n))
	return n
}

// requireReason fails unless err carries the reason.
func requireReason(t *testing.T, want apierror.Reason, err error) {
	t.Helper()
	require.Error(t, err)
	got, ok := apierror.ReasonOf(err)
	require.True(t, ok, "no reason in %v", err)
	require.Equal(t, want, got, "%v", err)
}

// logbook is a log that tests read.
type logbook struct{ logtest.Buffer }

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// until waits for a condition.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 10*time.Millisecond)
}
