package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/money"
)

// operations brings open operations to their end. A handler uses it for the
// first try and the completer for every later one, so that both ask the
// processor under the same key and store the outcome the same way; the attempt's
// epoch lets only one of them do so.
//
//	first commit ─→ send ─┬─ definite ─────────────────────────→ second commit
//	                      └─ unknown ─→ answer sealed, 202
//	                                       │  the completer, until decided:
//	                                       ▼
//	                                    look up ─┬─ definite ───→ second commit
//	                                       ▲     ├─ unknown ─→ later
//	                                       │     └─ no trace of the key:
//	                                       │          inside the horizon: send, same key
//	                                       └────────  around its end: later
//	                                                  past it: never done → second commit
type operations struct {
	store     *store
	processor Processor
	log       *slog.Logger
	now       func() time.Time
}

// errUndecided says that the processor's outcome is not known yet.
var errUndecided = errors.New("the processor's outcome is not known yet")

// first sends the payment's open operation for the first time. There is nothing
// to look up: nobody can have used the key before the first commit.
func (o *operations) first(ctx context.Context, attempt *idempotency.Attempt, p *Payment) (idempotency.Outcome, error) {
	key := attempt.ProviderKey(string(p.Open.Kind))
	outcome, err := send(ctx, o.processor, key, p)
	if err != nil {
		o.log.WarnContext(ctx, "outcome unknown", "payment", p.ID, "operation", p.Open.Kind, "error", err)
		return idempotency.Outcome{}, fmt.Errorf("%s: %w: %w", p.Open.Kind, errUndecided, err)
	}
	return o.close(ctx, attempt, p, key, outcome)
}

// resumers are what the completer does for each method that it finds undecided.
func (o *operations) resumers() map[string]func(context.Context, *idempotency.Attempt) error {
	all := map[string]func(context.Context, *idempotency.Attempt) error{}
	for method, kind := range kindOf {
		all[method] = o.resumer(kind)
	}
	return all
}

func (o *operations) resumer(kind Kind) func(context.Context, *idempotency.Attempt) error {
	return func(ctx context.Context, attempt *idempotency.Attempt) error {
		p, age, err := o.store.getOpen(ctx, attempt.Tenant, attempt.Resource)
		if err != nil {
			return fmt.Errorf("resume %s: %w", kind, err)
		}
		if p.Open == nil || p.Open.Kind != kind {
			// The key and the payment change in one transaction, so this is a
			// defect or a hand-made change; guessing would make it worse.
			return fmt.Errorf("resume %s: payment %s has no such operation open", kind, p.ID)
		}
		key := attempt.ProviderKey(string(kind))
		outcome, err := o.find(ctx, key, p, age)
		if err != nil {
			return fmt.Errorf("resume %s of payment %s: %w", kind, p.ID, err)
		}
		closed, err := o.close(ctx, attempt, p, key, outcome)
		if err != nil {
			return fmt.Errorf("resume %s of payment %s: %w", kind, p.ID, err)
		}
		o.log.InfoContext(ctx, "operation finished", "payment", p.ID, "operation", kind,
			"verdict", outcome.Verdict, "open_for", age, "lost_to_another", closed.Replayed)
		return nil
	}
}

// find establishes what became of a key that has been in use for age.
func (o *operations) find(ctx context.Context, key string, p *Payment, age time.Duration) (Outcome, error) {
	outcome, err := o.processor.Lookup(ctx, key, LookupRequest{
		Kind:        p.Open.Kind,
		ProcessorID: p.ProcessorID,
		Amount:      money.Amount{Currency: p.Amount.Currency, Minor: p.Open.Amount},
		Since:       o.now().Add(-age),
	})
	if !errors.Is(err, ErrUnknownKey) {
		return outcome, err
	}
	horizon := o.processor.Horizon()
	margin := marginOf(horizon)
	switch {
	case age < horizon-margin:
		return send(ctx, o.processor, key, p)
	case age < horizon+margin:
		return Outcome{}, errUndecided
	default:
		return Outcome{Verdict: NeverDone}, nil
	}
}

// marginOf is how long before its end, and after it, a horizon is not trusted:
// clocks differ, and from reading an operation's age to the arrival of the
// request that is sent for it, an owner may take all of its lease.
func marginOf(horizon time.Duration) time.Duration { return min(horizon/10, time.Minute) }

// close is the second commit: the payment, the ledger and the answer of the
// key, or none of them.
func (o *operations) close(ctx context.Context, attempt *idempotency.Attempt, p *Payment, key string, outcome Outcome) (idempotency.Outcome, error) {
	kind := p.Open.Kind
	entry, err := p.Close(outcome, o.now())
	if err != nil {
		return idempotency.Outcome{}, err
	}
	if entry != nil {
		entry.ProcessorKey = key
	}
	return attempt.Complete(ctx, answer(kind, p), func(b *pgx.Batch) { writeClosed(b, p, kind, entry) })
}
