package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sayEvery is how often await repeats that it is still waiting.
const sayEvery = 5 * time.Second

// await connects once, trying until bound has passed. A database that the
// server does not have is waited for, too, because it may be about to be
// created; with create not nil it is created.
func await(ctx context.Context, cfg *pgx.ConnConfig, bound time.Duration, log *slog.Logger, create func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	start := time.Now()
	var said time.Time
	var reason error
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := tryConnect(ctx, cfg)
		if create != nil && hasCode(err, invalidCatalogName) {
			if err := create(ctx); err != nil {
				return err
			}
			continue
		}
		switch {
		case err == nil:
			if !said.IsZero() {
				log.InfoContext(ctx, "Postgres answers", "address", address, "database", cfg.Database, "waited", time.Since(start).Round(time.Millisecond))
			}
			return nil
		case refusesCredentials(err):
			return fmt.Errorf("the Postgres at %s refuses user %q on database %q: %w; check HOLDFAST_DATABASE_URL", address, cfg.User, cfg.Database, brief(err))
		case ctx.Err() == nil || reason == nil:
			reason = err // an attempt that the bound cut short says less than the one before
		}
		if ctx.Err() == nil && time.Since(said) >= sayEvery {
			log.WarnContext(ctx, "waiting for Postgres", "address", address, "database", cfg.Database,
				"waited", time.Since(start).Round(time.Millisecond), "bound", bound, "reason", brief(err).Error())
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no Postgres at %s with database %q after %s: %w; check HOLDFAST_DATABASE_URL",
				address, cfg.Database, time.Since(start).Round(time.Millisecond), brief(reason))
		case <-time.After(pause + rand.N(pause)):
		}
	}
}

func tryConnect(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// refusesCredentials reports an error that no waiting cures (SQLSTATE class
// 28, invalid authorization).
func refusesCredentials(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "28")
}

// brief is the last of the many words with which pgx reports a connection that
// failed on every address it tried.
func brief(err error) error {
	var pg *pgconn.PgError
	var network *net.OpError
	switch {
	case errors.As(err, &pg):
		return pg
	case errors.As(err, &network):
		return network
	default:
		return err
	}
}
