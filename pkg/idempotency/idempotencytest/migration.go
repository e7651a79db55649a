package idempotencytest

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// MigrationIsCurrent fails unless a service's migrations hold the store's own,
// unchanged, as the first one. A released migration is never edited: what a
// later version of the store needs comes as a further file.
func MigrationIsCurrent(t testing.TB, migrations fs.FS) {
	t.Helper()
	got, err := fs.ReadFile(migrations, idempotency.MigrationName)
	if err != nil {
		t.Fatalf("reading the service's copy of the idempotency migration: %v", err)
	}
	if !bytes.Equal(got, idempotency.MigrationSQL()) {
		t.Fatalf("%s differs from pkg/idempotency/migrations/%[1]s: copy it again", idempotency.MigrationName)
	}
}
