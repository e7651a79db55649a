package ledger

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Ledger is the ledger of one database. It has no state of its own: any number
// of them, in any number of processes, work on one database. It is safe for
// concurrent use.
type Ledger struct {
	pool      *pgxpool.Pool
	log       *slog.Logger
	retention time.Duration // of idempotency keys
	history   time.Duration // of single attempts
	maxAnswer int
	firstLook time.Duration
	without   safeguards
}

// safeguards are those that a test has taken away; see sabotage.go.
type safeguards struct{ reservation, epoch bool }

// Option changes a ledger.
type Option func(*Ledger)

// WithLogger sets where the ledger logs. The default is nowhere.
func WithLogger(log *slog.Logger) Option { return func(l *Ledger) { l.log = log } }

// WithKeyRetention is how long an idempotency key stands for its request and
// answer. The default is a day.
func WithKeyRetention(d time.Duration) Option { return func(l *Ledger) { l.retention = d } }

// WithHistory is how long single attempts are kept before they are added up by
// day. The default is 90 days.
func WithHistory(d time.Duration) Option { return func(l *Ledger) { l.history = d } }

// WithMaxAnswer is how large an answer is kept for repetition, in bytes. A
// request whose answer is larger counts as answered once: its key says
// [ErrInterrupted] afterwards. The default is 8 MiB.
func WithMaxAnswer(bytes int) Option { return func(l *Ledger) { l.maxAnswer = bytes } }

// WithFirstLook is how long after its owner called an attempt unknown it is
// first asked about. The default is 10 seconds: what a provider has just broken
// off is seldom on its books at once.
func WithFirstLook(d time.Duration) Option { return func(l *Ledger) { l.firstLook = d } }

// New returns a ledger on a database that has the migrations of package
// migrations.
func New(pool *pgxpool.Pool, options ...Option) *Ledger {
	l := &Ledger{
		pool: pool, log: slog.New(slog.DiscardHandler),
		retention: 24 * time.Hour, history: 90 * 24 * time.Hour, maxAnswer: 8 << 20, firstLook: 10 * time.Second,
	}
	for _, o := range options {
		o(l)
	}
	return l
}

// maxResends is how often a statement is sent whose fate is not known, and
// maxOvertaken how often one that gave way to another: each time somebody else
// got on, so that this ends by itself unless a budget is fought over.
const (
	maxResends   = 3
	maxOvertaken = 20
)

// write sends a statement of one row until it is known what became of it. It is
// for statements that do nothing the second time. resent tells the caller that
// an earlier send may be the one that took effect.
func (l *Ledger) write(ctx context.Context, sql string, args []any, dest ...any) (resent bool, err error) {
	resends, overtaken := maxResends, maxOvertaken
	for {
		err = l.row(ctx, sql, args, dest...)
		switch {
		case err == nil || errors.Is(err, pgx.ErrNoRows):
			return resent, err
		case gaveWay(err) && overtaken > 1 && ctx.Err() == nil:
			overtaken--
		case inDoubt(err):
			resent = true
			if resends--; resends == 0 || ctx.Err() != nil {
				return resent, err
			}
		default:
			// Not this one, but an earlier one may have been committed.
			if resent {
				return resent, errors.Join(errEarlier, err)
			}
			return resent, err
		}
	}
}

// errEarlier marks that an earlier send is in doubt.
var errEarlier = errors.New("an earlier send of it may have been committed")

// row is one statement in a transaction of its own, and one round trip.
func (l *Ledger) row(ctx context.Context, sql string, args []any, dest ...any) error {
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return &unsent{err}
	}
	defer conn.Release()
	err = conn.QueryRow(ctx, sql, args...).Scan(dest...)
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if _, server := errors.AsType[*pgconn.PgError](err); !server && !conn.Conn().IsClosed() {
		return &definite{err}
	}
	return err
}

// detachBound is how long a write may take that its caller does not wait for.
const detachBound = 5 * time.Second

// detached is the context of a write that must happen although the client has
// left: what was billed is billed.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), detachBound)
}
