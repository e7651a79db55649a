package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// Errors of the ledger's rules. Whatever else it returns is trouble of the
// database, typed by pkg/postgres, or a mistake of the caller.
var (
	// ErrInFlight is that the request which has the idempotency key is under
	// way, or that it is not known yet how it ended. It comes as *[InFlight],
	// which says when to ask again.
	ErrInFlight = errors.New("ledger: a request with this idempotency key is under way")
	// ErrKeyReused is that the idempotency key stands for another request.
	ErrKeyReused = errors.New("ledger: this idempotency key was used with another request")
	// ErrInterrupted is that the request which has the idempotency key was
	// billed, or may have been, and has no answer to repeat: its client left, it
	// was cut, or its answer was too large to keep. It never runs again.
	ErrInterrupted = errors.New("ledger: the generation of this idempotency key was cut short and is billed")
	// ErrFenced is that the attempt has another owner: its lease was over and the
	// reconciler took it. Nothing was written, and nothing more may be sent.
	ErrFenced = errors.New("ledger: the attempt was taken over by another owner")
	// ErrDecided is that an attempt to resolve is not unknown, or not there.
	ErrDecided = errors.New("ledger: no such attempt is unknown")
)

// OverBudget is that a budget has no room for the worst that an attempt can
// cost. Nothing was written: a smaller worst case may be tried.
type OverBudget struct {
	// Budget and Tenant name the budget with the least room.
	Budget, Tenant string
	// Limit and Left are in nano-dollars: all of it, and what an attempt may
	// cost at most in its worst case.
	Limit, Left int64
	// ResetsAt is when its next period begins; zero is never.
	ResetsAt time.Time
}

// Error names the budget and what is left of it.
func (e *OverBudget) Error() string {
	return fmt.Sprintf("ledger: budget %q has %d nano-dollars left, which the request could exceed", e.Budget, e.Left)
}

// InFlight is [ErrInFlight] with a hint.
type InFlight struct {
	// RetryAfter is when to ask again.
	RetryAfter time.Duration
}

// Error says what ErrInFlight says.
func (*InFlight) Error() string { return ErrInFlight.Error() }

// Is makes it an ErrInFlight.
func (*InFlight) Is(target error) bool { return target == ErrInFlight }

// SQLSTATEs that are sent again, at once.
const (
	codeOvertaken     = "HF002" // llm_overtaken raised
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeNotSupported  = "0A000" // among others: a plan of the schema before a migration
)

// gaveWay reports whether the database undid the statement for the sake of
// another one, so that it may be sent again.
func gaveWay(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch pg.Code {
	case codeOvertaken, codeSerialization, codeDeadlock:
		return true
	case codeNotSupported:
		return pg.Routine == "RevalidateCachedQuery"
	}
	return false
}

// unsent wraps an error from before anything was sent.
type unsent struct{ error }

func (e *unsent) Unwrap() error { return e.error }

// definite wraps an error that is not the server's and left the connection in
// use, such as a parameter that cannot be encoded: had the fate of a commit
// been in doubt, the connection would be closed.
type definite struct{ error }

func (e *definite) Unwrap() error { return e.error }

// inDoubt reports whether a write that failed may have been committed all the
// same. Only an ERROR from the server rules it out: a FATAL one can follow a
// commit, as can a cut connection or a cancelled context.
func inDoubt(err error) bool {
	if errors.Is(err, errEarlier) {
		return true
	}
	if _, ok := errors.AsType[*unsent](err); ok {
		return false
	}
	if _, ok := errors.AsType[*definite](err); ok {
		return false
	}
	// pgx calls this one safe to retry, and also returns it for a connection
	// that ended while the answer was being read.
	if pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed) {
		return false
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC"
}

// failed types an error of the database for the edge. An error of our own is
// left as it is.
func failed(doing string, err error) error {
	wrapped := fmt.Errorf("ledger: %s: %w", doing, err)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == codeOvertaken {
		return apierror.New(apierror.ReasonDependencyUnavailable, "too many requests draw on one budget at once",
			apierror.WithRetryAfter(50*time.Millisecond), apierror.WithCause(wrapped))
	}
	if inDoubt(err) {
		return apierror.New(apierror.ReasonOutcomeUnknown, "the connection to the database ended before it confirmed the write",
			apierror.WithRetryAfter(time.Second), apierror.WithCause(wrapped))
	}
	return postgres.MapError(wrapped)
}
