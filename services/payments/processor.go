package payments

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/money"
)

// Processor is the outside party that moves the money.
//
// Every operation carries a key of ours; the processor does at most one
// operation for a key as long as its horizon lasts. A method returns an outcome
// only when it is definite, be it Done or Refused. Any error means the outcome
// is unknown: the operation may have happened, may be happening, or may happen
// yet. An implementation sends each call once; whether to send again is not its
// to decide.
type Processor interface {
	// Authorize reserves an amount.
	Authorize(ctx context.Context, key string, r ChargeRequest) (Outcome, error)
	// Charge reserves and takes an amount with one call.
	Charge(ctx context.Context, key string, r ChargeRequest) (Outcome, error)
	// Capture takes what the authorization reserved, or a part; the rest is
	// released.
	Capture(ctx context.Context, key, processorID string, amount money.Amount) (Outcome, error)
	// Void releases what the authorization reserved.
	Void(ctx context.Context, key, processorID string) (Outcome, error)
	// Refund gives back a part of what was captured, or all of it.
	Refund(ctx context.Context, key, processorID string, amount money.Amount) (Outcome, error)
	// Lookup finds what became of a key. It returns ErrUnknownKey when the
	// processor has no trace of it. Within the horizon that is no proof that it
	// never will: a request may still be on its way, or not be visible yet. Past
	// it, the answer decides: an implementation that is not sure returns another
	// error.
	Lookup(ctx context.Context, key string, r LookupRequest) (Outcome, error)
	// Records lists what the processor has done in [since, until) by its own
	// clock, a page at a time, in any order that does not shift between pages.
	// The first page has the cursor "", and next is "" with the last.
	Records(ctx context.Context, since, until time.Time, cursor string) (records []Record, next string, err error)
	// Horizon is for how long after its first use the processor is sure to
	// remember a key. Later, sending it again could do the operation again.
	Horizon() time.Duration
}

// ChargeRequest is what it takes to begin a payment at the processor.
type ChargeRequest struct {
	// Payment is the payment's id; the processor keeps it as its reference.
	Payment string
	// Description is the caller's reference, for statements.
	Description   string
	PaymentMethod string
	Amount        money.Amount
}

// LookupRequest is what is known of an operation beside its key. Not every
// processor has an index of our keys: some have to be told where to look.
type LookupRequest struct {
	Kind Kind
	// ProcessorID is the processor's name of the charge; empty for the operation
	// that begins it.
	ProcessorID string
	Amount      money.Amount
	// Since is when the operation began, by our clock: it was not sent before.
	Since time.Time
}

// ErrUnknownKey is Lookup's answer for a key the processor has no trace of.
var ErrUnknownKey = errors.New("the processor does not know the key")

// errPending is returned for an operation that the processor has accepted and
// not finished.
var errPending = errors.New("the processor has not finished the operation")

// send asks the processor for the payment's open operation.
func send(ctx context.Context, processor Processor, key string, p *Payment) (Outcome, error) {
	amount := money.Amount{Currency: p.Amount.Currency, Minor: p.Open.Amount}
	request := ChargeRequest{
		Payment:       p.ID.String(),
		Description:   p.Reference,
		PaymentMethod: p.PaymentMethod,
		Amount:        amount,
	}
	switch p.Open.Kind {
	case Authorize:
		return processor.Authorize(ctx, key, request)
	case Charge:
		return processor.Charge(ctx, key, request)
	case Capture:
		return processor.Capture(ctx, key, p.ProcessorID, amount)
	case Void:
		return processor.Void(ctx, key, p.ProcessorID)
	case Refund:
		return processor.Refund(ctx, key, p.ProcessorID, amount)
	default:
		return Outcome{}, errors.New("the open operation is of an unknown kind")
	}
}
