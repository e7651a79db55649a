package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	moneypb "google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/money"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// api answers the RPCs: it translates, calls, and translates back. What it gets
// was authenticated, normalised and validated before.
type api struct {
	paymentsv1.UnimplementedPaymentsServiceServer

	store      *store
	keys       *idempotency.Store
	derive     *idempotency.Deriver
	operations *operations
	nudge      func() // makes the completer look at once
	now        func() time.Time
}

// AuthorizePayment reserves an amount.
func (a *api) AuthorizePayment(ctx context.Context, r *paymentsv1.AuthorizePaymentRequest) (*paymentsv1.AuthorizePaymentResponse, error) {
	return begin(ctx, a, Authorize, r, &paymentsv1.AuthorizePaymentResponse{})
}

// ChargePayment reserves and takes an amount with one call to the processor.
func (a *api) ChargePayment(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
	return begin(ctx, a, Charge, r, &paymentsv1.ChargePaymentResponse{})
}

// CapturePayment takes a part of what was authorized, or without an amount all of
// it.
func (a *api) CapturePayment(ctx context.Context, r *paymentsv1.CapturePaymentRequest) (*paymentsv1.CapturePaymentResponse, error) {
	return operatePart(ctx, a, r, (*Payment).BeginCapture, &paymentsv1.CapturePaymentResponse{})
}

// VoidPayment releases all that was authorized.
func (a *api) VoidPayment(ctx context.Context, r *paymentsv1.VoidPaymentRequest) (*paymentsv1.VoidPaymentResponse, error) {
	return operate(ctx, a, r.GetId(), (*Payment).BeginVoid, &paymentsv1.VoidPaymentResponse{})
}

// RefundPayment gives back a part, or without an amount everything that is left.
func (a *api) RefundPayment(ctx context.Context, r *paymentsv1.RefundPaymentRequest) (*paymentsv1.RefundPaymentResponse, error) {
	return operatePart(ctx, a, r, (*Payment).BeginRefund, &paymentsv1.RefundPaymentResponse{})
}

// GetPayment returns one payment of the caller's tenant.
func (a *api) GetPayment(ctx context.Context, r *paymentsv1.GetPaymentRequest) (*paymentsv1.GetPaymentResponse, error) {
	id, err := uuid.Parse(r.GetId())
	if err != nil {
		return nil, toStatus(errNotFound)
	}
	p, err := a.store.get(ctx, auth.Tenant(ctx), id)
	if err != nil {
		return nil, toStatus(err)
	}
	return &paymentsv1.GetPaymentResponse{Payment: toProto(p)}, nil
}

// beginRequest is what an authorization and a charge have in common.
type beginRequest interface {
	GetReference() string
	GetAmount() *moneypb.Money
	GetPaymentMethod() string
}

// begin serves the methods that start a payment. Its id derives from the key,
// so that a repeat names the same payment.
func begin[M proto.Message](ctx context.Context, a *api, kind Kind, r beginRequest, into M) (M, error) {
	var none M
	call, ok := idempotency.FromContext(ctx)
	if !ok {
		return none, errNoKey
	}
	amount, err := money.FromProto(r.GetAmount())
	if err != nil {
		return none, amountError(err)
	}
	id := a.derive.ResourceID(call.Tenant, call.Key, "payment")
	p, err := New(id, call.Tenant, r.GetReference(), r.GetPaymentMethod(), amount, kind, a.now())
	if err != nil {
		return none, toStatus(err)
	}
	attempt, outcome, err := a.keys.BeginInsert(ctx, call, insertPayment, id, insertPaymentArgs(p)...)
	return conclude(ctx, a, attempt, outcome, err, p, into)
}

// partRequest is what a capture and a refund have in common.
type partRequest interface {
	GetId() string
	GetAmount() *moneypb.Money
}

// operatePart serves the methods that may concern a part of a payment.
func operatePart[M proto.Message](
	ctx context.Context, a *api, r partRequest, begun func(*Payment, *money.Amount, time.Time) error, into M,
) (M, error) {
	var amount *money.Amount
	if r.GetAmount() != nil {
		parsed, err := money.FromProto(r.GetAmount())
		if err != nil {
			var none M
			return none, amountError(err)
		}
		amount = &parsed
	}
	return operate(ctx, a, r.GetId(), func(p *Payment, now time.Time) error { return begun(p, amount, now) }, into)
}

// operate serves the methods that change a payment: begun decides on the locked
// row whether they may.
func operate[M proto.Message](ctx context.Context, a *api, rawID string, begun func(*Payment, time.Time) error, into M) (M, error) {
	var none M
	call, ok := idempotency.FromContext(ctx)
	if !ok {
		return none, errNoKey
	}
	id, err := uuid.Parse(rawID)
	if err != nil {
		return none, toStatus(errNotFound)
	}
	var p *Payment
	attempt, outcome, err := a.keys.BeginModify(ctx, call, id, idempotency.Modification{
		Read: func(b *pgx.Batch) { lock(b, call.Tenant, id, &p) },
		Write: func(b *pgx.Batch) (proto.Message, error) {
			if p == nil {
				return nil, errNotFound
			}
			if err := begun(p, a.now()); err != nil {
				return nil, err
			}
			writeOpen(b, p)
			return nil, nil // pending: the answer follows with the second commit
		},
	})
	return conclude(ctx, a, attempt, outcome, err, p, into)
}

// conclude goes on after the first commit. From here on the caller's patience
// does not matter: what is begun is finished, or sealed and handed over.
func conclude[M proto.Message](
	ctx context.Context, a *api, attempt *idempotency.Attempt, outcome idempotency.Outcome, err error, p *Payment, into M,
) (M, error) {
	var none M
	if err == nil && attempt != nil {
		outcome, err = a.firstTry(ctx, attempt, p)
	}
	if err != nil {
		return none, toStatus(err)
	}
	if err := outcome.Into(into); err != nil {
		return none, fmt.Errorf("decode the stored answer: %w", err)
	}
	return into, nil // the client gets the stored bytes, not these
}

// firstTry asks the processor. If it does not know in time, the answer is sealed
// as open before it is given, and the completer takes over at once.
func (a *api) firstTry(ctx context.Context, attempt *idempotency.Attempt, p *Payment) (idempotency.Outcome, error) {
	bounded, cancel := attempt.Context(ctx)
	defer cancel()
	open := answer(p.Open.Kind, p)
	outcome, err := a.operations.first(bounded, attempt, p)
	if err == nil {
		return outcome, nil
	}
	if errors.Is(err, errUndecided) {
		outcome, err = attempt.Seal(ctx, open)
	}
	attempt.Release(ctx)
	a.nudge()
	return outcome, err
}
