package orders

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/money"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// errUndecided says that payments does not know an outcome yet, or could not be
// asked. It decides nothing: the question is put again, with the same key.
var errUndecided = errors.New("the outcome is not known yet")

// payment is a payment as far as an order cares.
type payment struct {
	id          uuid.UUID
	amount      money.Amount
	outcome     paymentOutcome
	declineCode string
	pending     bool // a refund, or another operation on it, is under way
}

// paymentOutcome folds the states of a payment into what they mean here.
type paymentOutcome int

const (
	unknownOutcome paymentOutcome = iota // nobody knows yet
	taken                                // the money is ours
	notTaken                             // nothing was taken, or all of it was given back
)

// charged is how the question "was this order paid?" was answered.
type charged struct {
	payment *uuid.UUID // nil if there never was one
	taken   bool
	code    string // why nothing was taken
}

// Decline codes of our own, beside those of the processor.
const (
	codeNeverHappened = "never_happened" // it is certain that payments never got the charge
	codeRefused       = "refused"        // payments answered that it will not take this charge
)

// payments asks the payments service, in the name of a tenant.
type payments struct {
	client paymentsv1.PaymentsServiceClient
}

// charge makes payments take the order's total, once however often it is
// called, and returns how that ended, or errUndecided. It is both the first
// attempt and the way to find out later: the order's charge key makes payments
// replay. A charge that was answered as PROCESSING replays as PROCESSING for
// ever, so then the payment itself is read.
func (p *payments) charge(ctx context.Context, o *Order) (charged, error) {
	response, err := p.client.ChargePayment(asked(ctx, o.tenant, o.chargeKey), &paymentsv1.ChargePaymentRequest{
		Reference:     o.id.String(),
		Amount:        o.total.Proto(),
		PaymentMethod: o.paymentMethod,
	})
	if err != nil {
		return p.afterRefusedCharge(ctx, o, err)
	}
	found, err := paymentOf(response.GetPayment())
	if err != nil {
		return charged{}, err
	}
	if found.outcome == unknownOutcome {
		if found, err = p.get(ctx, o.tenant, found.id); err != nil {
			return charged{}, err
		}
	}
	return found.settled()
}

// afterRefusedCharge tells a charge that payments will never perform from one
// whose fate is open. Where the key cannot tell any more, because it expired or
// was spent otherwise, the reference can: it is the order's id.
func (p *payments) afterRefusedCharge(ctx context.Context, o *Order, refusal error) (charged, error) {
	switch reason, _ := apierror.ReasonOf(refusal); reason {
	case apierror.ReasonKeyExpired:
		return p.findByReference(ctx, o, codeNeverHappened)
	case apierror.ReasonKeyReused, apierror.ReasonAlreadyExists:
		return p.findByReference(ctx, o, codeRefused)
	case apierror.ReasonInvalidField, apierror.ReasonWrongState:
		return charged{code: codeRefused}, nil
	default:
		return charged{}, fmt.Errorf("charge: %w: %w", errUndecided, refusal)
	}
}

// findByReference looks for the order's payment by what it is for. None means
// that it never happened, and for the reason that absent names.
func (p *payments) findByReference(ctx context.Context, o *Order, absent string) (charged, error) {
	response, err := p.client.ListPayments(auth.ActAs(ctx, o.tenant), &paymentsv1.ListPaymentsRequest{
		Reference: o.id.String(),
		PageSize:  maxPaymentsOfOrder,
	})
	if err != nil {
		return charged{}, fmt.Errorf("look for the payment: %w: %w", errUndecided, err)
	}
	answer := charged{code: absent}
	for _, candidate := range response.GetPayments() {
		found, err := paymentOf(candidate)
		if err != nil {
			return charged{}, err
		}
		if found.amount != o.total {
			continue // not this order's charge, whatever it says it is for
		}
		// At most one payment of a reference is anything but declined or failed.
		// It decides; without one the newest does.
		if settled, err := found.settled(); err != nil || settled.taken {
			return settled, err
		} else if answer.payment == nil {
			answer = settled
		}
	}
	return answer, nil
}

// maxPaymentsOfOrder bounds the look-up by reference: an order has one charge,
// and what a tenant adds under its id by hand does not matter.
const maxPaymentsOfOrder = 50

// settled returns how the payment ended, or errUndecided.
func (p payment) settled() (charged, error) {
	if p.outcome == unknownOutcome {
		return charged{}, fmt.Errorf("charge: %w", errUndecided)
	}
	return charged{payment: &p.id, taken: p.outcome == taken, code: p.declineCode}, nil
}

// giveBack makes payments refund everything that a payment took, and returns
// nil when that is done, errUndecided while it is not. The refund goes out
// under key. Once that key can only repeat an old answer, because it expired or
// its refund is known to have failed, another key is made: that is safe, since
// payments never gives back more than it took.
func (p *payments) giveBack(ctx context.Context, tenant string, id uuid.UUID, key string, another func() string) error {
	for _, send := range []func() string{func() string { return key }, another} {
		found, err := p.get(ctx, tenant, id)
		if done, err := found.givenBack(err); done || err != nil {
			return err
		}
		_, err = p.client.RefundPayment(asked(ctx, tenant, send()), &paymentsv1.RefundPaymentRequest{Id: id.String()})
		if err != nil && !spent(err) {
			return fmt.Errorf("refund: %w: %w", errUndecided, err)
		}
	}
	found, err := p.get(ctx, tenant, id)
	if done, err := found.givenBack(err); done || err != nil {
		return err
	}
	return fmt.Errorf("refund: %w", errUndecided)
}

// givenBack reports whether nothing of the payment is left with us. While an
// operation on it is under way that is undecided.
func (p payment) givenBack(err error) (bool, error) {
	switch {
	case err != nil:
		return false, err
	case p.outcome == notTaken:
		return true, nil
	case p.pending || p.outcome == unknownOutcome:
		return false, fmt.Errorf("refund: %w", errUndecided)
	default:
		return false, nil
	}
}

// spent reports whether a key will not perform anything any more.
func spent(err error) bool {
	reason, _ := apierror.ReasonOf(err)
	return reason == apierror.ReasonKeyExpired || reason == apierror.ReasonWrongState
}

func (p *payments) get(ctx context.Context, tenant string, id uuid.UUID) (payment, error) {
	response, err := p.client.GetPayment(auth.ActAs(ctx, tenant), &paymentsv1.GetPaymentRequest{Id: id.String()})
	if err != nil {
		return payment{}, fmt.Errorf("get payment: %w: %w", errUndecided, err)
	}
	return paymentOf(response.GetPayment())
}

// asked is the context of a write to payments: whose it is and its key.
func asked(ctx context.Context, tenant, key string) context.Context {
	return metadata.AppendToOutgoingContext(auth.ActAs(ctx, tenant), "idempotency-key", key)
}

func paymentOf(p *paymentsv1.Payment) (payment, error) {
	id, err := uuid.Parse(p.GetId())
	if err != nil {
		return payment{}, fmt.Errorf("payment answered without an id: %w", errUndecided)
	}
	amount, err := money.FromProto(p.GetAmount())
	if err != nil {
		return payment{}, fmt.Errorf("amount of payment %s: %w: %w", id, errUndecided, err)
	}
	found := payment{
		id:          id,
		amount:      amount,
		declineCode: p.GetDeclineCode(),
		pending:     p.GetPendingOperation() != paymentsv1.PendingOperation_PENDING_OPERATION_UNSPECIFIED,
	}
	switch p.GetState() {
	case paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED:
		found.outcome = taken
	case paymentsv1.PaymentState_PAYMENT_STATE_DECLINED,
		paymentsv1.PaymentState_PAYMENT_STATE_VOIDED,
		paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED:
		found.outcome = notTaken
	case paymentsv1.PaymentState_PAYMENT_STATE_FAILED:
		found.outcome = notTaken
		found.declineCode = cmp.Or(found.declineCode, codeNeverHappened)
	default:
		found.outcome = unknownOutcome
	}
	return found, nil
}
