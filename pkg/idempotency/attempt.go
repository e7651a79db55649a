package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
)

// Attempt is the right to decide a key whose effect lies outside the database.
// It is a lease with a fencing epoch (Kleppmann, Designing Data-Intensive
// Applications, chapter 8): when the lease has run out the completer takes the
// key over under the next epoch, and whatever the slow owner still writes
// matches no row.
//
//	        BeginInsert, BeginModify
//	                  │
//	                  ▼
//	  ┌────────── pending ──────────┐
//	  │ Complete      │ Seal        │ lease over: epoch + 1
//	  ▼               ▼             ▼
//	decided ◄────── sealed       pending, owned by the completer
//	       Complete
type Attempt struct {
	*Call
	// Resource is what the first commit wrote and the completer goes on with.
	Resource uuid.UUID
	// Epoch is how often the key was owned: 1 for who began it.
	Epoch int64
	// Sealed says that the answer was given already. Complete then changes what
	// it writes and never the answer.
	Sealed bool

	store  *Store
	secret int16     // the version that this key's children derive from
	until  time.Time // when the owner must be done, by this process's clock
}

// BeginInsert is the first of two commits: it runs st once, leaving the key
// pending. The caller makes its external call under [Attempt.Context] and ends
// with [Attempt.Complete] or [Attempt.Seal]. A nil attempt means that the
// request came before, and the outcome is its answer.
func (s *Store) BeginInsert(ctx context.Context, call *Call, st Statement, resource uuid.UUID, args ...any) (*Attempt, Outcome, error) {
	if s.without.keys {
		return s.beginBare(ctx, call, st, resource, args)
	}
	fresh, row, err := s.claim(ctx, call, st, birth{resource: resource, lease: s.cfg.Lease}, args)
	if err != nil {
		return nil, Outcome{}, err
	}
	return s.begun(call, resource, fresh, row)
}

// BeginModify is the first of two commits for a write that depends on rows. If
// Write returns no answer the key is left pending, as by [Store.BeginInsert].
// If it returns one, no external call is needed: the key is decided at once and
// there is no attempt.
func (s *Store) BeginModify(ctx context.Context, call *Call, resource uuid.UUID, m Modification) (*Attempt, Outcome, error) {
	m.Resource = resource
	w := &modifying{store: s, call: call, m: m, pending: true}
	fresh, row, err := s.settle(ctx, call, w.send)
	if err != nil {
		return nil, Outcome{}, err
	}
	if fresh && row == nil && w.born.response != nil {
		return nil, call.settle(Outcome{Raw: w.born.response}), nil
	}
	return s.begun(call, resource, fresh, row)
}

// begun makes the attempt of who wrote the key, and an outcome for everybody
// else. The row is there if the key was written by an earlier send.
func (s *Store) begun(call *Call, resource uuid.UUID, fresh bool, row *stored) (*Attempt, Outcome, error) {
	if row != nil && row.response != nil {
		return nil, call.settle(Outcome{Replayed: !fresh, Raw: row.response}), nil
	}
	bound := call.Timeout
	if bound <= 0 || bound > s.cfg.Lease {
		bound = s.cfg.Bound
	}
	a := &Attempt{
		Call: call, Resource: resource, Epoch: 1, store: s,
		secret: s.deriver.current, until: call.Started.Add(bound),
	}
	if row != nil {
		// Not its epoch: if that has grown, the key was taken over before this
		// call learned that it owned it, and the epoch is another owner's.
		a.secret = row.secret
	}
	return a, Outcome{}, nil
}

// Context returns the context for the external call. It does not end when the
// caller gives up, or the effect would be left without an owner, but when the
// method's own time is up, less what the second commit needs.
func (a *Attempt) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.store.without.epoch {
		return context.WithCancel(context.WithoutCancel(ctx))
	}
	return context.WithDeadline(context.WithoutCancel(ctx), a.until.Add(-a.store.cfg.Reserve))
}

// Child derives the key under which a step of this attempt calls another
// service, with the secret that was current when the key was first used: a
// rotated secret must not make a second charge of a repeated one.
func (a *Attempt) Child(step string) Key {
	return a.store.deriver.child(a.secret, a.Tenant, a.Key, step)
}

// ProviderKey derives the key under which a step calls a system outside.
func (a *Attempt) ProviderKey(step string) string {
	return a.store.deriver.providerKey(a.secret, a.Tenant, a.Key, step)
}

// Complete is the second commit: the answer, and what write queues, in one
// implicit transaction and one round trip. Every write must change a row unless
// it is marked by [MayMatchNothing].
//
// If the attempt was sealed, the answer that was given stays, and the one given
// here may be nil. If another owner has taken over, nothing is written and the
// outcome is that owner's answer.
func (a *Attempt) Complete(ctx context.Context, answer proto.Message, write func(*pgx.Batch)) (Outcome, error) {
	var raw []byte
	if answer != nil {
		var err error
		if raw, err = encode(answer); err != nil {
			return Outcome{}, err
		}
	}
	if raw == nil && !a.Sealed {
		return Outcome{}, errors.New("idempotency: an attempt that is not sealed needs an answer to complete")
	}
	ctx, cancel := a.reserved(ctx)
	defer cancel()
	for resends := maxResends; ; resends-- {
		stored, err := a.decide(ctx, raw, write)
		switch {
		case err == nil:
			return a.settle(Outcome{Raw: stored}), nil
		case errors.Is(err, errFenced):
			return a.winner(ctx)
		case resends > 1 && ctx.Err() == nil && resendable(err):
			continue // if the first one did commit, the next is fenced by it
		}
		return Outcome{}, a.store.failed(ctx, err)
	}
}

// errFenced says that another owner has taken over.
var errFenced = errors.New("the key has another owner")

func (a *Attempt) decide(ctx context.Context, raw []byte, write func(*pgx.Batch)) (answer []byte, err error) {
	t := a.Key.table()
	sql := t.complete
	if a.store.without.epoch {
		sql = t.completeUnsafe
	}
	var batch pgx.Batch
	if a.store.without.keys {
		return raw, a.writeBare(ctx, write)
	}
	batch.Queue(sql, a.Key.arg(), a.Tenant, raw, a.Epoch)
	if write != nil {
		write(&batch)
	}
	if err := guardAll(batch.QueuedQueries[1:]); err != nil {
		return nil, &theirs{err}
	}
	conn, err := a.store.pool.Acquire(ctx)
	if err != nil {
		return nil, &notSent{err}
	}
	defer conn.Release()
	results := conn.SendBatch(ctx, &batch)
	defer func() {
		if closing := results.Close(); err == nil && closing != nil {
			err = fmt.Errorf("committing an outcome: %w", closing)
		}
		err = definite(conn, err)
	}()
	switch err := results.QueryRow().Scan(&answer, nil); {
	case isRequire(err):
		return nil, errFenced
	case err != nil:
		return nil, fmt.Errorf("storing an outcome: %w", err)
	}
	return answer, nil
}

// Seal stores the answer while the effect is still open, and leaves the effect
// to the completer. Nothing may be answered before: the completer could decide
// otherwise, and the next duplicate would be told something else. If sealing
// fails the error says to repeat with the same key.
func (a *Attempt) Seal(ctx context.Context, answer proto.Message) (Outcome, error) {
	raw, err := encode(answer)
	if err != nil {
		return Outcome{}, err
	}
	if a.store.without.seal {
		return a.settle(Outcome{Raw: raw}), nil
	}
	ctx, cancel := a.reserved(ctx)
	defer cancel()
	t := a.Key.table()
	tag, err := a.store.pool.Exec(ctx, t.seal, a.Key.arg(), a.Tenant, raw, a.Epoch)
	if err != nil {
		return Outcome{}, errUnsealed(fmt.Errorf("sealing an answer: %w", err))
	}
	if tag.RowsAffected() == 0 {
		return a.winner(ctx)
	}
	a.Sealed = true
	count(ctx, a.Method, outcomeSealed)
	return a.settle(Outcome{Raw: raw}), nil
}

// Release gives the lease back, so that the completer may take over at once. It
// is for owners that cannot go on; failing only means that the lease runs out
// by itself.
func (a *Attempt) Release(ctx context.Context) { a.postpone(ctx, 0) }

// winner waits a moment for the answer of whoever has taken over.
func (a *Attempt) winner(ctx context.Context) (Outcome, error) {
	count(ctx, a.Method, outcomeFenced)
	for waiting := newBackoff(a.store.cfg.Wait); ; {
		got, err := a.store.look(ctx, a.store.pool, a.Call)
		if err != nil {
			return Outcome{}, errUnsealed(err)
		}
		if got.row != nil && got.row.response != nil {
			return a.settle(Outcome{Replayed: true, Raw: got.row.response}), nil
		}
		if got.row == nil || !waiting.next(ctx) {
			return Outcome{}, errUnsealed(errFenced)
		}
	}
}

// reserved is the context of a second commit. The caller's end does not count,
// and neither does that the time for the external call is over: this is what
// was kept back.
func (a *Attempt) reserved(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.store.without.epoch {
		return context.WithCancel(context.WithoutCancel(ctx))
	}
	return context.WithTimeout(context.WithoutCancel(ctx), 2*a.store.cfg.Reserve)
}

// postpone leaves the key to whoever comes after a pause.
func (a *Attempt) postpone(ctx context.Context, pause time.Duration) {
	ctx, cancel := a.reserved(ctx)
	defer cancel()
	t := a.Key.table()
	if _, err := a.store.pool.Exec(ctx, t.release, a.Key.arg(), a.Tenant, pause, a.Epoch); err != nil {
		a.store.log.WarnContext(ctx, "a lease was not given back and will run out", "method", a.Method, "cause", err)
	}
}
