package service

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// databaseOf is the name of a service's database: its own, as SQL likes it.
func databaseOf(def Definition) string { return strings.ReplaceAll(def.Name, "-", "_") }

// database provides the pool of a service that has migrations, and closes it
// after everything that uses it.
func database(ctx context.Context, def Definition) fx.Option {
	if def.Migrations == nil {
		return fx.Options()
	}
	return fx.Options(
		fx.Provide(func(cfg postgres.Config, shutdown Config, log *slog.Logger, h *health.Health, lifecycle fx.Lifecycle) (*pgxpool.Pool, error) {
			pool, err := openDatabase(ctx, cfg, def, log)
			if err != nil {
				return nil, err
			}
			h.Watch(health.Dependency{Name: "postgres", Check: pool.Ping}) //nolint:contextcheck // it is watched for longer than the start lasts
			lifecycle.Append(fx.StopHook(func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, shutdown.ClosePool)
				defer cancel()
				return postgres.Close(ctx, pool)
			}))
			return pool, nil
		}),
		// Not left to whether the module asks for it: a service is not started
		// until its database is there.
		fx.Invoke(func(*pgxpool.Pool) {}),
	)
}

// openDatabase connects and waits for the schema that this version needs: in a
// rollout the migration may still be running.
func openDatabase(ctx context.Context, cfg postgres.Config, def Definition, log *slog.Logger) (*pgxpool.Pool, error) {
	pool, err := postgres.Open(ctx, cfg, databaseOf(def), log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectBound)
	defer cancel()
	if err := postgres.WaitForSchema(ctx, pool, postgres.Latest(def.Migrations)); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// migrate brings the service's database up to date: River's tables, the
// service's own, and the partitions that idempotency keys go into.
func migrate(ctx context.Context, cfg postgres.Config, name string, migrations fs.FS, log *slog.Logger) error {
	url, err := urlOf(cfg.URL, name)
	if err != nil {
		return err
	}
	err = postgres.Migrate(ctx, url, migrations, log, postgres.WithRiver(), postgres.WithConnectBound(cfg.ConnectBound))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting to prepare partitions: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var keeps bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('idempotency_keys') IS NOT NULL`).Scan(&keeps); err != nil {
		return fmt.Errorf("looking for the table of idempotency keys: %w", err)
	}
	if !keeps {
		return nil
	}
	return idempotency.Maintain(ctx, conn)
}

// urlOf names the database in a connection string that does not.
func urlOf(url, name string) (string, error) {
	parsed, err := pgx.ParseConfig(url)
	if err != nil {
		return "", fmt.Errorf("reading HOLDFAST_DATABASE_URL: %w", err)
	}
	if parsed.Database == "" {
		return postgres.WithDatabase(url, name), nil
	}
	return url, nil
}
