package idempotency

import "embed"

// migrationFiles holds 00001_idempotency.sql, in goose's format. A service carries
// a copy as its own first migration, so that its folder shows its whole schema;
// idempotencytest.MigrationIsCurrent keeps the copy the same.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// MigrationName is the file's name here and in every service.
const MigrationName = "00001_idempotency.sql"

// MigrationSQL returns the migration that makes the tables of this package.
func MigrationSQL() []byte {
	sql, err := migrationFiles.ReadFile("migrations/" + MigrationName)
	if err != nil {
		panic("idempotency: the embedded migration is gone: " + err.Error())
	}
	return sql
}
