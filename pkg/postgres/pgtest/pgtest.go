// Package pgtest gives each test a PostgreSQL database of its own.
//
// The server is, in this order: the one of HOLDFAST_TEST_DATABASE_URL; a
// container, where Docker answers and the image is there or can be pulled; a
// server started from binaries found on the machine or downloaded. One server
// serves all tests of a test binary and ends with it, however it ends. Which
// one was taken is printed once.
//
// A database is a copy of a template that was migrated once, so that it costs
// some ten milliseconds.
package pgtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// Database is an empty or migrated database for one test. It is dropped when
// the test ends.
type Database struct {
	// Name of the database.
	Name string
	// URL connects to the database as its owner.
	URL string
	// Pool is connected to the database and closed with the test.
	Pool *pgxpool.Pool
	// Server is the server of its own that the database is on, and nil on the
	// shared one, which no test may stop.
	Server *Server

	host *host
}

// New returns a database for t on the shared server. The database is a copy of
// a template made by migrate, which is called once for each name in a test
// binary; nil leaves it empty.
func New(t testing.TB, migrate func(ctx context.Context, url string) error, name string) *Database {
	t.Helper()
	shared, err := sharedHost()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return shared.database(t, migrate, name)
}

// database clones a database from the template and opens a pool on it.
func (h *host) database(t testing.TB, migrate func(ctx context.Context, url string) error, name string) *Database {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	clone, err := h.clone(ctx, migrate, name)
	if err != nil {
		t.Fatalf("pgtest: making database %q: %v", name, err)
	}
	url := postgres.WithDatabase(h.url, clone)
	pool, err := newPool(ctx, url)
	if err != nil {
		t.Fatalf("pgtest: connecting to database %q: %v", name, err)
	}
	t.Cleanup(func() {
		pool.Close()
		h.drop(context.WithoutCancel(ctx), clone)
	})
	return &Database{Name: clone, URL: url, Pool: pool, host: h}
}

func newPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	cfg.MaxConns = 16
	cfg.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	return pgxpool.NewWithConfig(ctx, cfg)
}
