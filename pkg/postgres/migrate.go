package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// MigrateOption changes how Migrate works.
type MigrateOption func(*migration)

type migration struct {
	river        bool
	connectBound time.Duration
	lockTimeout  time.Duration
	lockRetries  int
}

// WithRiver also brings the tables of River, the job queue, up to date. They
// come before the service's own migrations, so that a database which
// WaitForSchema accepts has them.
func WithRiver() MigrateOption { return func(m *migration) { m.river = true } }

// WithConnectBound is how long Migrate waits for the server. The default is a
// minute.
func WithConnectBound(bound time.Duration) MigrateOption {
	return func(m *migration) { m.connectBound = bound }
}

// WithLockTimeout is how long one statement of a migration may wait for a
// lock, and how often the migration is tried again if that was too short. The
// default is 2 s and 30 times.
func WithLockTimeout(timeout time.Duration, retries int) MigrateOption {
	return func(m *migration) { m.lockTimeout, m.lockRetries = timeout, retries }
}

// Migrate brings the database of url up to date with the goose migrations at
// the root of fsys, creating the database if the server has none of that name.
//
// Any number of replicas may call it at once: an advisory lock lets one work
// and the others find the work done. A statement that needs a lock a running
// request holds does not queue for long, because every later request would
// queue behind it (https://www.postgresql.org/docs/current/explicit-locking.html):
// it gives up after a lock_timeout, lets them pass and tries again.
//
// The connection string must lead to the server itself or to a pooler in
// session mode.
func Migrate(ctx context.Context, url string, fsys fs.FS, log *slog.Logger, opts ...MigrateOption) error {
	m := migration{connectBound: time.Minute, lockTimeout: 2 * time.Second, lockRetries: 30}
	for _, opt := range opts {
		opt(&m)
	}
	pool, err := m.open(ctx, url, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }()

	return alone(ctx, db, func() error {
		if m.river {
			err := m.retry(ctx, log, func() error { return migrateRiver(ctx, pool, log) })
			if err != nil {
				return fmt.Errorf("migrating the tables of River: %w", err)
			}
		}
		err := m.retry(ctx, log, func() error { return migrateUp(ctx, db, fsys, log) })
		if err != nil {
			return fmt.Errorf("migrating database %s: %w", pool.Config().ConnConfig.Database, err)
		}
		return nil
	})
}

// open connects for migrating: few connections, no statement timeout because
// an index on a large table takes its time, but a short lock timeout.
func (m migration) open(ctx context.Context, url string, log *slog.Logger) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the connection string: %w", err)
	}
	cfg.MaxConns = 3 // one holds the advisory lock
	tune(cfg.ConnConfig, 5*time.Second)
	params := cfg.ConnConfig.RuntimeParams
	setDefault(params, "application_name", "holdfast migrate")
	params["statement_timeout"] = "0"
	params["lock_timeout"] = millis(m.lockTimeout)

	create := func(ctx context.Context) error { return createDatabase(ctx, cfg.ConnConfig, log) }
	if err := await(ctx, cfg.ConnConfig, m.connectBound, log, create); err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting for migrations: %w", err)
	}
	return pool, nil
}

// alone runs work while holding the advisory lock of migrations. The server
// gives the lock back when the connection ends, however it ends.
func alone(ctx context.Context, db *sql.DB, work func() error) error {
	const everySecond, fiveMinutes = 1, 300
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(everySecond, fiveMinutes))
	if err != nil {
		return fmt.Errorf("preparing the lock of migrations: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting for the lock of migrations: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("waiting for another migration of this database: %w", err)
	}
	// An error of unlocking changes nothing: the connection is closed next.
	defer func() { _ = locker.SessionUnlock(context.WithoutCancel(ctx), conn) }()
	return work()
}

func migrateUp(ctx context.Context, db *sql.DB, fsys fs.FS, log *slog.Logger) error {
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys, goose.WithSlog(log))
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	done, err := provider.Up(ctx)
	for _, result := range done {
		log.InfoContext(ctx, "migrated", "version", result.Source.Version, "file", result.Source.Path, "took", result.Duration.Round(time.Millisecond))
	}
	return err
}

func migrateRiver(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: log})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// retry repeats step while it fails because somebody else holds a lock. What
// step has committed stays, so that it goes on where it stopped.
func (m migration) retry(ctx context.Context, log *slog.Logger, step func() error) error {
	for attempt := 1; ; attempt++ {
		err := step()
		if !hasCode(err, lockNotAvailable, deadlockDetected) || attempt > m.lockRetries {
			return err
		}
		pause := min(time.Duration(attempt)*100*time.Millisecond, 2*time.Second)
		log.WarnContext(ctx, "a migration waits for a lock", "attempt", attempt, "next_in", pause, "reason", err.Error())
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
	}
}
