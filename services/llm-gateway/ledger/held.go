package ledger

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
)

// firstEpoch is that of whoever reserved. The reconciler's are higher.
const firstEpoch = 1

// Held is a request whose current attempt is dispatched: a reservation in every
// budget, and the right to say how the attempt ended until its lease is over and
// the reconciler takes it. It ends with [Held.Settle] or [Held.Release]; if it is
// dropped, the reconciler ends it.
//
// Renew may be called while another method runs; the others one at a time.
type Held struct {
	ledger  *Ledger
	request uuid.UUID
	purse   *purse
	lease   time.Duration

	mu     sync.Mutex
	number int
	worst  int64
	until  time.Time
	lost   bool // nobody here knows any more which attempt is open
}

// ID names the attempt that is dispatched.
func (h *Held) ID() AttemptID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return AttemptID{Request: h.request, Number: h.number}
}

// Until is when the lease is over, by this process's monotonic clock and never
// later than by the database's. Nothing may be sent to a provider after it: the
// reconciler may have been told already that the attempt never happened.
func (h *Held) Until() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until
}

// Renew begins the lease anew. [ErrFenced] says that it comes too late.
func (h *Held) Renew(ctx context.Context) error {
	const query = `
UPDATE llm_attempts
SET lease_until = now() + $4::interval
WHERE request = $1 AND number = $2 AND epoch = $3 AND state = 'dispatched'
RETURNING TRUE`
	id, until := h.ID(), time.Now().Add(h.lease)
	var renewed bool
	_, err := h.ledger.write(ctx, query, []any{pgUUID(id.Request), id.Number, firstEpoch, h.lease}, &renewed)
	if noRow(err) {
		meters().fenced.Add(ctx, 1)
		return ErrFenced
	}
	if err != nil {
		return failed("renewing a lease", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.number == id.Number {
		h.until = until
	}
	return nil
}

// Settle says what the attempt did cost, gives the rest of its reservation back,
// and keeps the answer for the request's key, in one round trip. Without an
// answer, or with one that is too large, the key says [ErrInterrupted] from then
// on. An outcome that is Unknown keeps the reservation, and leaves the attempt to
// the reconciler.
//
// It does not end when ctx does. Doing it again is harmless, and so is a reply
// that is lost: Settle asks again.
func (h *Held) Settle(ctx context.Context, o Outcome, answer *Stored) error {
	return h.conclude(ctx, o, answer)
}

// Release is Settle for an attempt that answered nothing. If no attempt of the
// request was billed, the key is free again.
func (h *Held) Release(ctx context.Context, o Outcome) error { return h.conclude(ctx, o, nil) }

func (h *Held) conclude(ctx context.Context, o Outcome, answer *Stored) error {
	if err := o.check(); err != nil {
		return err
	}
	if answer != nil && o.State != Settled {
		return errors.New("ledger: an answer of an attempt that was not settled")
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	c := closing{id: h.ID(), epoch: firstEpoch, from: Dispatched, outcome: o, answer: answer}
	if answer != nil && len(answer.Body) > h.ledger.maxAnswer {
		c.answer = nil
		meters().unkept.Add(ctx, 1)
	}
	_, err := h.ledger.close(ctx, c)
	return err
}

// withdraw gives back what a write in doubt may have reserved for an attempt that
// will not be sent. Should that fail too, the lease ends it.
func (h *Held) withdraw(ctx context.Context, number int) {
	ctx, cancel := detached(ctx)
	defer cancel()
	_, err := h.ledger.close(ctx, closing{
		id: AttemptID{Request: h.request, Number: number}, epoch: firstEpoch, from: Dispatched,
		outcome: Outcome{State: Failed, Exact: true, Error: "not sent: its reservation was not confirmed"},
	})
	if err != nil {
		h.ledger.log.WarnContext(ctx, "a reservation in doubt was not withdrawn; its lease will end it",
			"request", h.request, "attempt", number, "cause", err)
	}
}
