package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// SQLSTATEs that this package tells apart; the rest is for pkg/postgres.
const (
	codeCheckViolation  = "23514"
	codeUniqueViolation = "23505"
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeRequire         = "HF001" // idempotency_require raised
	codeNotSupported    = "0A000"
)

// maxResends is how often a write is sent whose fate is not known, or that the
// database asks to be sent again. The key makes another send harmless.
const maxResends = 3

// notSent wraps an error from before anything was sent.
type notSent struct{ error }

func (e *notSent) Unwrap() error { return e.error }

// theirs is an error of the business or of a programmer, to be returned as it
// is: the database has nothing to do with it, and sending again will not help.
type theirs struct{ error }

func (e *theirs) Unwrap() error { return e.error }

// definite marks an error that is not the server's and left the connection in
// use, such as a parameter that cannot be encoded: had the fate of a commit
// been in doubt, the connection would be closed.
func definite(conn *pgxpool.Conn, err error) error {
	var pg *pgconn.PgError
	var own *theirs
	if err == nil || errors.As(err, &pg) || errors.As(err, &own) || errors.Is(err, errFenced) || conn.Conn().IsClosed() {
		return err
	}
	return &theirs{err}
}

// outcomeUnknown reports whether the commit may have happened all the same.
// Only an ERROR from the server rules it out: a FATAL one can follow a commit,
// as can a cut connection or a cancelled context.
func outcomeUnknown(err error) bool {
	var unsent *notSent
	if errors.As(err, &unsent) {
		return false
	}
	// pgx calls this one safe to retry, and also returns it for a connection
	// that ended while the answer was being read.
	if pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed) {
		return false
	}
	var pg *pgconn.PgError
	return !errors.As(err, &pg) || pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC"
}

// resendable reports whether the same write may succeed if it is sent again at
// once: the connection was cut, a duplicate won a race, or the plan was of the
// schema before a migration.
func resendable(err error) bool {
	var unsent *notSent
	var own *theirs
	if errors.As(err, &unsent) || errors.As(err, &own) {
		return false
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || outcomeUnknown(err) {
		return true
	}
	switch pg.Code {
	case codeSerialization, codeDeadlock:
		return true
	case codeUniqueViolation:
		return isKeyTable(pg.TableName)
	case codeNotSupported:
		return pg.Routine == "RevalidateCachedQuery"
	}
	return false
}

// failed turns an error of the database into one for the edge. What the
// business may have caused itself is left as it is.
func (s *Store) failed(ctx context.Context, err error) error {
	var own *theirs
	if errors.As(err, &own) {
		return own.error
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && !outcomeUnknown(err) {
		switch {
		case pg.Code == codeCheckViolation && isKeyTable(pg.TableName) && pg.ConstraintName == "":
			meters().missingPartitions.Add(ctx, 1)
			s.log.ErrorContext(ctx, "no partition for an idempotency key inside the window: maintenance does not run", "cause", err)
			return apierror.New(apierror.ReasonDependencyUnavailable, "the service cannot accept new keys at the moment",
				apierror.WithRetryAfter(time.Second), apierror.WithCause(err))
		case pg.Code == codeRequire, pg.Code[:2] == "22", pg.Code[:2] == "23":
			return err
		}
	}
	if outcomeUnknown(err) {
		return apierror.New(apierror.ReasonOutcomeUnknown, "whether the request took effect is not known; send it again with the same key",
			apierror.WithRetryAfter(retrySoon), apierror.WithCause(err))
	}
	return postgres.MapError(err)
}

const (
	retrySoon = 250 * time.Millisecond
	retryLate = time.Second
)

// errInFlight answers a duplicate of a request that is being worked on.
func errInFlight(pending bool) error {
	after := retrySoon
	if pending {
		after = retryLate // its owner waits for another system
	}
	return apierror.New(apierror.ReasonKeyInFlight, "a request with this idempotency key is being worked on",
		apierror.WithRetryAfter(after))
}

// errReused says nothing of the stored request: whoever guessed the key must
// not learn what it stands for.
func errReused() error {
	return apierror.New(apierror.ReasonKeyReused, "this idempotency key was used with another request")
}

// errUnsealed answers when no answer could be stored: what the request leads to
// is not known here.
func errUnsealed(cause error) error {
	return apierror.New(apierror.ReasonOutcomeUnknown, "the outcome of the request is not known yet; send it again with the same key",
		apierror.WithRetryAfter(retryLate), apierror.WithCause(cause))
}

func errExpired(at time.Time) error {
	return apierror.New(apierror.ReasonKeyExpired, "this idempotency key is past its retention; whether its request took effect must be looked up",
		apierror.WithMetadata("server_time", at.UTC().Format(time.RFC3339Nano)))
}

func errFuture(at time.Time) error {
	return apierror.New(apierror.ReasonKeyFromFuture, "this idempotency key was minted in the future; check the clock",
		apierror.WithMetadata("server_time", at.UTC().Format(time.RFC3339Nano)))
}

// errUnverifiable answers while a newer release writes fingerprints that this
// one cannot compare: another replica can.
func errUnverifiable(version int16) error {
	return apierror.New(apierror.ReasonDependencyUnavailable, "another version of the service must answer this request",
		apierror.WithRetryAfter(retrySoon),
		apierror.WithCause(fmt.Errorf("fingerprint version %d is not known to this release", version)))
}

func isKeyTable(name string) bool {
	return name == timedKeys.name || name == opaqueKeys.name ||
		len(name) == len(timedKeys.name)+len("_20060102") && name[:len(timedKeys.name)] == timedKeys.name
}
