package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"
)

// Modification is a write that depends on rows.
//
// Both functions may run again after a lost race or a cut connection, so they
// must start from nothing each time.
type Modification struct {
	// Read queues the SELECT … FOR UPDATE of every row that Write decides on,
	// with callbacks that scan them. An error of a callback rolls back and is
	// returned as it is. It is not run for a replay.
	Read func(*pgx.Batch)
	// Write decides by what was read, queues the writes and returns the answer.
	// An error rolls everything back and is returned as it is. Each write must
	// change at least one row unless it is marked by [MayMatchNothing].
	Write func(*pgx.Batch) (answer proto.Message, err error)
	// Undecided says that work follows: the answer is final, and the completer
	// goes on with Resource at once.
	Undecided bool
	// FollowUp, if set, is asked after Write and decides instead of Undecided.
	FollowUp func() bool
	// Resource is what the completer goes on with.
	Resource uuid.UUID
}

// Modify runs m once for the key of call, in two round trips and one commit: the
// gate and the reads; then the writes, the complete key and the commit.
func (s *Store) Modify(ctx context.Context, call *Call, m Modification) (Outcome, error) {
	w := &modifying{store: s, call: call, m: m}
	fresh, row, err := s.settle(ctx, call, w.send)
	switch {
	case err != nil:
		return Outcome{}, err
	case row != nil:
		return call.settle(Outcome{Replayed: !fresh, Raw: row.response}), nil
	}
	return call.settle(Outcome{Raw: w.born.response}), nil
}

// modifying is one modification on its way through several sends.
type modifying struct {
	store *Store
	call  *Call
	m     Modification
	// pending allows Write to return no answer: the key is then left pending
	// for an attempt.
	pending bool
	born    birth // as the last send wrote it
}

// send holds one connection for one transaction.
func (w *modifying) send(ctx context.Context, op uuid.UUID) (got sent, err error) {
	conn, err := w.store.pool.Acquire(ctx)
	if err != nil {
		return sent{}, &notSent{err}
	}
	defer conn.Release()
	defer func() {
		err = definite(conn, err)
		if conn.Conn().PgConn().TxStatus() != 'I' {
			rollback(ctx, conn)
		}
	}()

	got, taken, err := w.read(ctx, conn)
	if err != nil || taken {
		return got, err
	}
	var batch pgx.Batch
	if err := w.write(&batch, op); err != nil {
		return sent{}, err
	}
	got.fresh = true
	return got, commit(ctx, conn, &batch)
}

// read is the first round trip. Taken says that the key is somebody else's.
func (w *modifying) read(ctx context.Context, conn *pgxpool.Conn) (got sent, taken bool, err error) {
	t, key := w.call.Key.table(), w.call.Key.arg()
	var batch pgx.Batch
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	batch.Queue(t.findFresh, w.call.Key.text, w.call.Tenant)
	args := []any{AdvisoryLock(w.call.Tenant, w.call.Key), key, w.call.Tenant}
	if minted, timed := w.call.Key.Minted(); timed {
		args = append(args, minted, w.store.retention, w.store.skew)
	}
	batch.Queue(t.gate, args...)
	ours := batch.Len()
	w.m.Read(&batch)
	var decided error // by a callback
	for _, q := range batch.QueuedQueries[ours:] {
		q.Fn = noting(q.Fn, &decided)
	}

	results := conn.SendBatch(ctx, &batch)
	defer func() {
		closing := results.Close()
		switch {
		case err != nil || taken || closing == nil:
		case decided != nil:
			err = decided // theirs, unless the connection is gone: see definite
		default:
			err = fmt.Errorf("reading what a modification depends on: %w", closing)
		}
	}()
	if _, err := results.Exec(); err != nil {
		return sent{}, false, fmt.Errorf("beginning a modification: %w", err)
	}
	got, err = w.store.scanLook(results.QueryRow(), w.call)
	if err != nil {
		return sent{}, false, err
	}
	if _, err := results.Exec(); isRequire(err) {
		return got, true, nil
	} else if err != nil {
		return sent{}, false, fmt.Errorf("claiming an idempotency key: %w", err)
	}
	return got, false, nil
}

// noting keeps the error of a callback apart from that of the batch.
func noting(fn func(pgx.BatchResults) error, into *error) func(pgx.BatchResults) error {
	if fn == nil {
		return nil
	}
	return func(br pgx.BatchResults) error {
		*into = fn(br)
		return *into
	}
}

// write fills the second round trip.
func (w *modifying) write(batch *pgx.Batch, op uuid.UUID) error {
	answer, err := w.m.Write(batch)
	if err != nil {
		return &theirs{err}
	}
	w.born = birth{resource: w.m.Resource, decided: true}
	switch {
	case answer == nil && !w.pending:
		return &theirs{errors.New("idempotency: a modification must answer")}
	case answer == nil:
		w.born.decided, w.born.lease = false, w.store.cfg.Lease
	default:
		if w.born.response, err = encode(answer); err != nil {
			return &theirs{err}
		}
		undecided := w.m.Undecided
		if w.m.FollowUp != nil {
			undecided = w.m.FollowUp()
		}
		if undecided {
			w.born.decided, w.born.sealed, w.born.lease = false, true, time.Duration(0)
		}
	}
	if err := guardAll(batch.QueuedQueries); err != nil {
		return &theirs{err}
	}
	c, b := w.call, w.born
	batch.Queue(c.Key.table().insert,
		c.Key.arg(), [16]byte(op), b.resourceArg(), b.lease, c.Fingerprint.Version, w.store.secret, b.decided, b.sealed,
		c.Tenant, c.Method, c.Fingerprint.Sum[:], b.response)
	batch.Queue("COMMIT")
	return nil
}

// commit sends a batch that ends with COMMIT. In a transaction that failed
// before, COMMIT is no error: it answers ROLLBACK.
func commit(ctx context.Context, conn *pgxpool.Conn, batch *pgx.Batch) error {
	var tag pgconn.CommandTag
	batch.QueuedQueries[batch.Len()-1].Exec(func(ct pgconn.CommandTag) error {
		tag = ct
		return nil
	})
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("committing a modification: %w", err)
	}
	if tag.String() != "COMMIT" {
		return fmt.Errorf("committing a modification: the transaction ended in %s", tag)
	}
	return nil
}

// rollback gives the connection back clean. If it fails the pool closes the
// connection, which rolls back too.
func rollback(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK")
}

// guardAll makes every queued write raise when it changes nothing.
func guardAll(queued []*pgx.QueuedQuery) error {
	for _, q := range queued {
		sql, err := guard(q.SQL)
		if err != nil {
			return fmt.Errorf("idempotency: %w", err)
		}
		q.SQL = sql
	}
	return nil
}

// isRequire reports whether idempotency_require raised.
func isRequire(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == codeRequire
}
