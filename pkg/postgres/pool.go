package postgres

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Open returns a pool on the service's database. If the connection string
// names no database, database is used; it is also the application_name that
// the server's administrator sees.
//
// Open waits for a server that is not there yet, saying so in the log, and
// gives up with one error after cfg.ConnectBound. A server that refuses the
// credentials is not waited for.
func Open(ctx context.Context, cfg Config, database string, log *slog.Logger) (*pgxpool.Pool, error) {
	cfg = cfg.withDefaults()
	poolConfig, err := cfg.poolConfig(database)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, poolConfig.ConnConfig, cfg.ConnectBound, log, nil); err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return nil, fmt.Errorf("opening the pool of database %s: %w", poolConfig.ConnConfig.Database, err)
	}
	if err := otelpgx.RecordStats(pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("registering the metrics of the pool: %w", err)
	}
	return pool, nil
}

// Close waits for every connection to be given back and closes the pool. A
// connection that is never given back would make it wait for ever: when ctx
// ends, Close returns an error that says how many there are and leaves the
// rest to the end of the process.
func Close(ctx context.Context, pool *pgxpool.Pool) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the database pool, %d connections still in use: %w", pool.Stat().AcquiredConns(), ctx.Err())
	}
}
