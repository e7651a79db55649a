package orders

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// finisher brings undecided orders to their end. The RPC handlers use it for
// the first attempt, and the completer for every later one, so both do the same
// in the same order and may do it at once: keys make payments perform each step
// once, and the attempt's epoch lets one of them store how it ended.
type finisher struct {
	store    *store
	payments *payments
	show     presenter
	watches  *watches
	now      func() time.Time
}

// resumers tells the completer how to go on with the requests that a crash, a
// timeout or a sealed answer left open.
func (f *finisher) resumers() map[string]func(context.Context, *idempotency.Attempt) error {
	return map[string]func(context.Context, *idempotency.Attempt) error{
		ordersv1.OrdersService_CreateOrder_FullMethodName: f.resumeCreate,
		ordersv1.OrdersService_CancelOrder_FullMethodName: f.resumeCancel,
	}
}

// resumeCreate finishes a CreateOrder. An order that was cancelled meanwhile
// belongs to the cancellation: nothing is asked of payments any more in the
// name of its creation.
func (f *finisher) resumeCreate(ctx context.Context, attempt *idempotency.Attempt) error {
	o, err := f.store.get(ctx, attempt.Tenant, attempt.Resource)
	if err != nil {
		return fmt.Errorf("resume creation: %w", err)
	}
	_, err = f.pay(ctx, attempt, o)
	return err
}

// pay charges for an order and stores how that ended together with the answer
// to its creation. While payments does not know, it returns errUndecided and
// nothing has changed.
func (f *finisher) pay(ctx context.Context, attempt *idempotency.Attempt, o *Order) (idempotency.Outcome, error) {
	var result charged
	if o.State() == PendingPayment {
		var err error
		if result, err = f.payments.charge(ctx, o); err != nil {
			return idempotency.Outcome{}, err
		}
	}
	return f.decide(ctx, attempt, o, func(o *Order) (proto.Message, error) {
		// Whoever cancelled the order while it was being paid took it over: it
		// is answered as it stands.
		if o.State() == PendingPayment {
			if err := result.apply(o, f.now()); err != nil {
				return nil, err
			}
		}
		return &ordersv1.CreateOrderResponse{Order: f.show.order(ctx, o)}, nil
	})
}

// apply moves a pending order to where its charge brought it.
func (c charged) apply(o *Order, now time.Time) error {
	if c.taken {
		return o.Pay(*c.payment, now)
	}
	return o.FailPayment(c.payment, c.code, now)
}

// resumeCancel does what a CancelOrder decided: it finds out what was taken and
// gives it back.
//
// An order that was cancelled before its payment was decided is charged first,
// under the key of its creation. That looks odd and is the safe way: the charge
// of the creation may still be on its way, and only after its key is spent can
// nothing be taken behind our back. Usually it replays what already happened.
func (f *finisher) resumeCancel(ctx context.Context, attempt *idempotency.Attempt) error {
	o, err := f.store.get(ctx, attempt.Tenant, attempt.Resource)
	if err != nil {
		return fmt.Errorf("resume cancellation: %w", err)
	}
	paid := o.paymentID
	if o.State() == Cancelling {
		if paid == nil {
			result, err := f.payments.charge(ctx, o)
			if err != nil {
				return err
			}
			if result.taken {
				paid = result.payment
			}
		}
		if paid != nil {
			if err := f.payments.giveBack(ctx, o.tenant, *paid, attempt.Child("refund").String(), newKey); err != nil {
				return err
			}
		}
	}
	_, err = f.decide(ctx, attempt, o, func(o *Order) (proto.Message, error) {
		if o.State() == Cancelling {
			if err := o.FinishCancelling(paid, f.now()); err != nil {
				return nil, err
			}
		}
		return &ordersv1.CancelOrderResponse{Order: f.show.order(ctx, o)}, nil
	})
	return err
}

func newKey() string { return idempotency.NewKey().String() }

// decide is the second commit of an attempt: it applies a change to the order
// and stores the answer with it. The change is written over the version that it
// was made from; if somebody edited or cancelled the order meanwhile, all of it
// is undone and tried again on the order as it is then.
func (f *finisher) decide(
	ctx context.Context, attempt *idempotency.Attempt, o *Order, change func(*Order) (proto.Message, error),
) (idempotency.Outcome, error) {
	for {
		before := o.Version()
		answer, err := change(o)
		if err != nil {
			return idempotency.Outcome{}, err
		}
		outcome, err := attempt.Complete(ctx, answer, func(batch *pgx.Batch) {
			if o.Version() != before {
				queueUpdate(batch, o)
			}
		})
		if !overtaken(err) {
			f.watches.wake(attempt.Resource)
			return outcome, err
		}
		if o, err = f.store.get(ctx, attempt.Tenant, attempt.Resource); err != nil {
			return idempotency.Outcome{}, err
		}
	}
}
