package postgres

import (
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// How long a caller is told to wait: for a lock or a race that others win in
// milliseconds, and for a server that is restarting or full.
const (
	soon  = 50 * time.Millisecond
	later = time.Second
)

// MapError turns trouble of the database into a typed error that tells the
// caller to retry with the same key: DEPENDENCY_UNAVAILABLE if the server is
// down, shutting down, out of connections, disk or memory, or gave way to
// another transaction; DEADLINE if it ended the query because the request's
// time was up. Everything else, pgx.ErrNoRows and broken constraints among it,
// is returned unchanged: the store knows what it means.
//
// The caller must know that the failed work has not happened. For a commit, or
// a batch that commits, use MapWriteError.
func MapError(err error) error {
	var typed *apierror.Error
	if err == nil || errors.As(err, &typed) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return mapServerError(pg, err)
	}
	if lostConnection(err) {
		return unavailable(err, later, "the database cannot be reached")
	}
	return err
}

// MapWriteError is MapError for a statement that commits. If the connection
// ended after the statement was sent and before its answer arrived, nobody can
// tell whether the write happened, and the error is OUTCOME_UNKNOWN: the retry
// with the same key finds out.
func MapWriteError(err error) error {
	var typed *apierror.Error
	if err == nil || errors.As(err, &typed) || !outcomeUnknown(err) {
		return MapError(err)
	}
	return apierror.New(apierror.ReasonOutcomeUnknown,
		"the connection to the database ended before it confirmed the write",
		apierror.WithRetryAfter(later), apierror.WithCause(err))
}

// outcomeUnknown reports an error of a write that may have been committed.
func outcomeUnknown(err error) bool {
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect), errors.Is(err, puddle.ErrClosedPool):
		return false // nothing was sent
	case errors.Is(err, pgconn.ErrConnClosed):
		// pgx calls this one safe to retry, and also returns it for a
		// connection that ended while the answer was being read.
		return true
	case pgconn.SafeToRetry(err):
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// An ERROR is the answer that it did not happen. A FATAL may have been
		// sent to a connection that was idle, before the write arrived, or in
		// place of an answer: it tells nothing.
		return pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC"
	}
	return lostConnection(err) || pgconn.Timeout(err)
}

func mapServerError(pg *pgconn.PgError, err error) error {
	switch pg.Code {
	case diskFull:
		return unavailable(err, later, "the database has no disk space left")
	case tooManyConnections:
		return unavailable(err, later, "the database has no connection to spare")
	case serializationFailure, deadlockDetected:
		return unavailable(err, soon, "the database chose another transaction")
	case lockNotAvailable:
		return unavailable(err, soon, "the rows are locked by another request")
	case queryCanceled:
		// The text is the only difference; it is in the server's language, and
		// an unknown one is taken for the server's own timeout.
		if strings.Contains(pg.Message, "user request") {
			return apierror.New(apierror.ReasonDeadline, "the request's time was up", apierror.WithCause(err))
		}
		return unavailable(err, later, "the database took too long")
	case readOnlyTransaction:
		return unavailable(err, later, "the database is failing over")
	case idleInTxTimeout:
		return unavailable(err, soon, "the database ended an idle transaction")
	case invalidCatalogName:
		return unavailable(err, later, "the database is not there")
	case featureNotSupported:
		// A migration changed a table under a prepared statement. pgx forgets
		// the statement, and the next use prepares it anew.
		if strings.Contains(pg.Message, "cached plan") {
			return unavailable(err, soon, "the database's schema has just changed")
		}
		return err
	}
	switch pg.Code[:2] {
	case classConnection, classOperator:
		return unavailable(err, later, "the database is restarting")
	case classAuthorization:
		return unavailable(err, later, "the database refuses this service")
	case classResources, classSystem:
		return unavailable(err, later, "the database is out of resources")
	}
	return err
}

// lostConnection reports an error of the network, or of a pool or connection
// that is closed.
func lostConnection(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect), errors.As(err, &network) && !pgconn.Timeout(err):
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, puddle.ErrClosedPool), errors.Is(err, pgconn.ErrConnClosed):
		return true
	}
	return false
}

func unavailable(cause error, retryAfter time.Duration, message string) error {
	return apierror.New(apierror.ReasonDependencyUnavailable, message,
		apierror.WithRetryAfter(retryAfter), apierror.WithCause(cause))
}
