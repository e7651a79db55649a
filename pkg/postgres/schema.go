package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

// SchemaVersion is the number of the newest migration the database has, and 0
// if it has none.
func SchemaVersion(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	var version int64
	err := pool.QueryRow(ctx, `
		SELECT coalesce(max(version_id), 0)
		FROM goose_db_version
		WHERE is_applied`).Scan(&version)
	if hasCode(err, undefinedTable) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the schema version: %w", err)
	}
	return version, nil
}

// WaitForSchema returns when the database has migration want or a newer one: a
// replica must run on the schema of the next release too, or no deployment
// could roll. It fails when ctx ends, saying which version is there.
//
// It is how a service starts in parallel with the job that migrates.
func WaitForSchema(ctx context.Context, pool *pgxpool.Pool, want int64) error {
	missing := fmt.Sprintf("waiting for schema version %d", want)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		have, err := SchemaVersion(ctx, pool)
		switch {
		case err == nil && have >= want:
			return nil
		case err == nil:
			missing = fmt.Sprintf("waiting for schema version %d, the database has %d (has `migrate` run?)", want, have)
		case ctx.Err() == nil:
			missing = fmt.Sprintf("waiting for schema version %d (%v)", want, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", missing, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Latest is the number of the newest migration in fsys: the version the code
// that embeds it wants.
func Latest(fsys fs.FS) int64 {
	var latest int64
	names, _ := fs.Glob(fsys, "*.sql") // the pattern is well-formed
	for _, name := range names {
		if version, err := goose.NumericComponent(name); err == nil {
			latest = max(latest, version)
		}
	}
	return latest
}
