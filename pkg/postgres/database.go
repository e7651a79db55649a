package postgres

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// maintenanceDatabase exists on every server and is where other databases are
// created from.
const maintenanceDatabase = "postgres"

// createDatabase creates the database that cfg names. Another process may be
// faster, which is fine.
func createDatabase(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) error {
	name := cfg.Database
	server := cfg.Copy()
	server.Database = maintenanceDatabase
	conn, err := pgx.ConnectConfig(ctx, server)
	if err != nil {
		return fmt.Errorf("connecting to database %s to create database %s: %w", maintenanceDatabase, name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	switch {
	case err == nil:
		log.InfoContext(ctx, "created the database", "database", name)
		return nil
	case hasCode(err, duplicateDatabase, uniqueViolation): // the second when both ask at once
		return nil
	default:
		return fmt.Errorf("creating database %s: %w", name, err)
	}
}
