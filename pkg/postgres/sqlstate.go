package postgres

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs this package decides by
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	featureNotSupported  = "0A000"
	uniqueViolation      = "23505"
	readOnlyTransaction  = "25006"
	idleInTxTimeout      = "25P03"
	invalidCatalogName   = "3D000" // no such database
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	undefinedTable       = "42P01"
	duplicateDatabase    = "42P04"
	tooManyConnections   = "53300"
	diskFull             = "53100"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
)

// Classes of SQLSTATEs, their first two characters.
const (
	classConnection    = "08"
	classAuthorization = "28"
	classResources     = "53" // disk, memory, connections
	classOperator      = "57" // shut down, terminated, cancelled
	classSystem        = "58" // I/O errors outside Postgres
)

// hasCode reports whether err is an answer of the server with one of the codes.
func hasCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(codes, pg.Code)
}
