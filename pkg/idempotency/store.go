package idempotency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"
)

// Store keeps keys and answers in Postgres, in the same database and the same
// transactions as the effects they stand for. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	deriver *Deriver
	cfg     Config
	log     *slog.Logger

	// Parameters that are the same for every call, boxed once.
	retention, skew, secret any

	without sabotage
}

// sabotage takes out one safeguard at a time. Only tests of this package can
// set it: they show that without the safeguard the promise breaks.
type sabotage struct {
	epoch bool // the second commit does not ask who owns the row
	seal  bool // an answer is given out without being stored first
	gate  bool // duplicates wait for the first in line, each on a connection
	keys  bool // nothing is stored but what the business writes: what it would cost
}

// New makes a store over a pool whose sessions run READ COMMITTED, the only
// level at which a duplicate can see what was committed while it waited.
func New(pool *pgxpool.Pool, d *Deriver, cfg Config, log *slog.Logger) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring idempotency: %w", err)
	}
	if d == nil {
		return nil, errors.New("configuring idempotency: no deriver")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Store{
		pool: pool, deriver: d, cfg: cfg, log: log,
		retention: cfg.Retention, skew: cfg.Skew, secret: d.current,
	}, nil
}

// Deriver returns what child keys and resource ids are derived with.
func (s *Store) Deriver() *Deriver { return s.deriver }

// ResourceID derives the id of what call creates.
func (s *Store) ResourceID(call *Call, kind string) uuid.UUID {
	return s.deriver.ResourceID(call.Tenant, call.Key, kind)
}

// birth is how a key row starts its life.
type birth struct {
	resource uuid.UUID // zero: none
	lease    any       // time.Duration, or nil when decided
	decided  bool
	sealed   bool
	response []byte
}

func (b birth) resourceArg() any {
	if b.resource == uuid.Nil {
		return nil
	}
	return [16]byte(b.resource)
}

// stored is a key row as a duplicate sees it.
type stored struct {
	Fingerprint
	op       uuid.UUID
	resource uuid.UUID
	secret   int16
	sealed   bool
	created  time.Time
	response []byte
}

// sent is what one send of a batch found out.
type sent struct {
	at    time.Time // the database's clock; zero when the send did not ask
	open  bool      // the key is within its window
	fresh bool      // this send wrote the key
	row   *stored   // what another send wrote
}

// settle sends until this call, or another arrival of the request, has written
// the key. The first return says that a send of this call wrote it; with it
// comes the row if it was an earlier send, whose connection was cut before it
// could tell.
func (s *Store) settle(ctx context.Context, call *Call, send func(ctx context.Context, op uuid.UUID) (sent, error)) (fresh bool, row *stored, err error) {
	var (
		mine    []uuid.UUID // sends that may have committed
		again   = maxResends
		waiting = newBackoff(s.cfg.Wait)
	)
	if s.likelyRepeat(call) {
		if row, err := s.answered(ctx, call); err == nil && row != nil && s.admit(ctx, call, *row) == nil {
			count(ctx, call.Method, outcomeReplayed)
			return false, row.row, nil
		}
		// Anything else is for the claim to find out, under its lock.
	}
	for {
		// A new op for every send: the row of the send before must be visible to
		// this one as somebody else's.
		op := uuid.New()
		got, err := send(ctx, op)
		if err != nil {
			again--
			if again > 0 && ctx.Err() == nil && resendable(err) {
				mine = append(mine, op)
				s.log.WarnContext(ctx, "sending an idempotent write again", "method", call.Method, "cause", err)
				continue
			}
			return false, nil, s.failed(ctx, err)
		}
		if got.fresh {
			count(ctx, call.Method, outcomeFresh)
			return true, nil, nil
		}
		for _, op := range mine {
			if got.row != nil && got.row.op == op {
				count(ctx, call.Method, outcomeFresh)
				return true, got.row, nil
			}
		}
		if err := s.admit(ctx, call, got); err != nil {
			return false, nil, err
		}
		if got.row != nil && got.row.response != nil {
			count(ctx, call.Method, outcomeReplayed)
			return false, got.row, nil
		}
		if !waiting.next(ctx) {
			count(ctx, call.Method, outcomeInFlight)
			return false, nil, errInFlight(got.row != nil)
		}
	}
}

// repeatAge is the age of a key from which on it is probably not its first time
// here: clients mint a key right before they send it.
const repeatAge = 2 * time.Second

// likelyRepeat guesses that a plain look-up will do, which costs less than a
// claim that finds the key taken. A wrong guess, as with a client whose clock is
// behind, costs one round trip and nothing else. Keys past their retention are
// left to the claim, which refuses them: there is nothing to look up.
func (s *Store) likelyRepeat(call *Call) bool {
	minted, timed := call.Key.Minted()
	age := call.Started.Sub(minted)
	return timed && age > repeatAge && age < s.cfg.Retention
}

// admit refuses a key that is expired, from the future, or was used for
// something else.
func (s *Store) admit(ctx context.Context, call *Call, got sent) error {
	if minted, timed := call.Key.Minted(); timed && !got.open {
		if minted.After(got.at) {
			count(ctx, call.Method, outcomeFuture)
			return errFuture(got.at)
		}
		count(ctx, call.Method, outcomeExpired)
		return errExpired(got.at)
	} else if !timed && got.row != nil && (got.row.created.Before(got.at.Add(-s.cfg.Retention)) || got.row.Version == tombstone) {
		count(ctx, call.Method, outcomeExpired)
		return errExpired(got.at)
	}
	if got.row == nil {
		return nil
	}
	same, known := call.matches(got.row.Fingerprint)
	if !known {
		count(ctx, call.Method, outcomeUnverifiable)
		return errUnverifiable(got.row.Version)
	}
	if !same {
		count(ctx, call.Method, outcomeMismatch)
		return errReused()
	}
	return nil
}

// tombstone is the fingerprint version of an opaque key whose answer is gone.
const tombstone int16 = 0

// answered reads what a replay needs of a key that has an answer, and returns
// nil if there is none. It is [Store.look] at half the cost: without the columns
// and the outer join that only other answers need, and in the partition of the
// key's day instead of by way of all. It is for UUIDv7 keys; a day without a
// partition is an error.
func (s *Store) answered(ctx context.Context, call *Call) (*sent, error) {
	minted, _ := call.Key.Minted()
	var (
		got         = sent{row: &stored{}}
		fingerprint []byte
	)
	err := s.pool.QueryRow(ctx, answeredIn(minted), call.Key.arg(), call.Tenant).
		Scan(&got.at, &got.row.Version, &fingerprint, &got.row.created, &got.row.response)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for a stored answer: %w", err)
	}
	got.open = s.inWindow(call.Key, got.at)
	copy(got.row.Sum[:], fingerprint)
	return &got, nil
}

// answeredIn is the SQL of [Store.answered] for keys of one day. There are as
// many of these statements as days in a retention.
func answeredIn(minted time.Time) string {
	return `SELECT now(), fpv, fingerprint, create_time, response
FROM ` + partitionOf(minted).name + `
WHERE key = $1 AND tenant = $2 AND response IS NOT NULL`
}

// find looks a key up: the answer, an error, or neither if the key was never
// used.
func (s *Store) find(ctx context.Context, call *Call) (Outcome, bool, error) {
	got, err := s.look(ctx, s.pool, call)
	if err != nil {
		return Outcome{}, false, s.failed(ctx, err)
	}
	if err := s.admit(ctx, call, got); err != nil {
		return Outcome{}, false, err
	}
	switch {
	case got.row == nil:
		return Outcome{}, false, nil
	case got.row.response == nil:
		return Outcome{}, false, errInFlight(true)
	}
	return Outcome{Replayed: true, Raw: got.row.response}, true, nil
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// look reads the row of a key, whoever wrote it, and the database's clock.
func (s *Store) look(ctx context.Context, q querier, call *Call) (sent, error) {
	return s.scanLook(q.QueryRow(ctx, call.Key.table().findFresh, call.Key.text, call.Tenant), call)
}

func (s *Store) scanLook(row pgx.Row, call *Call) (sent, error) {
	var (
		got          sent
		fpv, secret  *int16
		fingerprint  []byte
		op, resource *uuid.UUID
		sealed       *bool
		created      *time.Time
		response     []byte
	)
	if err := row.Scan(&got.at, &fpv, &fingerprint, &op, &resource, &secret, &sealed, &created, &response); err != nil {
		return sent{}, fmt.Errorf("looking an idempotency key up: %w", err)
	}
	got.open = s.inWindow(call.Key, got.at)
	if fpv == nil {
		return got, nil
	}
	got.row = &stored{op: *op, secret: *secret, sealed: *sealed, created: *created, response: response}
	if resource != nil {
		got.row.resource = *resource
	}
	got.row.Version = *fpv
	copy(got.row.Sum[:], fingerprint)
	return got, nil
}

// inWindow repeats the gate's condition with the clock it answered with.
func (s *Store) inWindow(k Key, at time.Time) bool {
	minted, timed := k.Minted()
	return !timed || !minted.Before(at.Add(-s.cfg.Retention)) && !minted.After(at.Add(s.cfg.Skew))
}

// encode makes the bytes that every answer for the key will have.
func encode(answer proto.Message) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	if raw == nil {
		raw = []byte{} // an empty message is an answer; NULL is none
	}
	return raw, nil
}
