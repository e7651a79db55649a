package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// api answers the RPCs: it translates, calls, and translates back. What it gets
// was authenticated, normalised and validated before.
type api struct {
	ordersv1.UnimplementedOrdersServiceServer

	store     *store
	keys      *idempotency.Store
	derive    *idempotency.Deriver
	finish    *finisher
	explainer *explainer
	show      presenter
	watches   *watches
	nudge     func() // makes the completer look at once
	now       func() time.Time
}

// CreateOrder places an order in two commits. The first accepts it; between the
// two, payments is asked to charge; the second stores how that ended and the
// answer. If payments cannot say in time, the answer is sealed as
// PENDING_PAYMENT and the completer finishes the order.
func (a *api) CreateOrder(ctx context.Context, r *ordersv1.CreateOrderRequest) (*ordersv1.CreateOrderResponse, error) {
	call, ok := idempotency.FromContext(ctx)
	if !ok {
		return nil, errNoKey
	}
	o, err := a.draft(ctx, call, r)
	if err != nil {
		return nil, toStatus(err)
	}
	attempt, outcome, err := a.keys.BeginInsert(ctx, call, insertOrder, o.id, insertOrderArgs(o)...)
	if err != nil {
		return nil, toStatus(err)
	}
	if attempt != nil {
		if outcome, err = a.firstAttempt(ctx, attempt, o); err != nil {
			return nil, toStatus(err)
		}
	}
	return answer(outcome, &ordersv1.CreateOrderResponse{})
}

// firstAttempt goes on after the first commit. From here on the caller's
// patience does not matter: whatever is begun is finished or handed over.
func (a *api) firstAttempt(ctx context.Context, attempt *idempotency.Attempt, o *Order) (idempotency.Outcome, error) {
	bounded, cancel := attempt.Context(ctx)
	defer cancel()
	accepted := &ordersv1.CreateOrderResponse{Order: a.show.order(ctx, o)}
	outcome, err := a.finish.pay(bounded, attempt, o)
	if err == nil {
		return outcome, nil
	}
	defer a.nudge()
	if errors.Is(err, errUndecided) {
		outcome, err = attempt.Seal(ctx, accepted)
	}
	if err != nil {
		attempt.Release(ctx)
	}
	return outcome, err
}

// draft prices what was asked for and returns the order that it makes. Its id
// and the key of its charge derive from the request's key, so that a repeat of
// the request names the same order and the same charge.
func (a *api) draft(ctx context.Context, call *idempotency.Call, r *ordersv1.CreateOrderRequest) (*Order, error) {
	wanted := make([]Wanted, len(r.GetLines()))
	ids := make([]string, len(r.GetLines()))
	for i, line := range r.GetLines() {
		wanted[i] = Wanted{line.GetProductId(), line.GetQuantity()}
		ids[i] = line.GetProductId()
	}
	catalogue, err := a.store.products(ctx, ids)
	if err != nil {
		return nil, err
	}
	lines, err := Price(wanted, catalogue)
	if err != nil {
		return nil, err
	}
	return NewOrder(Draft{
		ID:            a.derive.ResourceID(call.Tenant, call.Key, "order"),
		Tenant:        call.Tenant,
		Lines:         lines,
		PaymentMethod: r.GetPaymentMethod(),
		ChargeKey:     a.derive.Child(call.Tenant, call.Key, "charge").String(),
		Contact:       Contact{Email: normalEmail(r.GetContactEmail()), ShippingNote: r.GetShippingNote()},
		Now:           a.now(),
	})
}

// CancelOrder decides in one local commit that an order ends. What was paid is
// given back afterwards by the completer, which the same commit puts to work.
func (a *api) CancelOrder(ctx context.Context, r *ordersv1.CancelOrderRequest) (*ordersv1.CancelOrderResponse, error) {
	call, ok := idempotency.FromContext(ctx)
	if !ok {
		return nil, errNoKey
	}
	id, err := uuid.Parse(r.GetId())
	if err != nil {
		return nil, toStatus(ErrNotFound)
	}
	var o *Order
	outcome, err := a.keys.Modify(ctx, call, idempotency.Modification{
		Read: func(batch *pgx.Batch) { queueLock(batch, call.Tenant, id, &o) },
		Write: func(batch *pgx.Batch) (proto.Message, error) {
			if o == nil {
				return nil, ErrNotFound
			}
			if err := o.Cancel(a.now()); err != nil {
				return nil, err
			}
			queueUpdate(batch, o)
			return &ordersv1.CancelOrderResponse{Order: a.show.order(ctx, o)}, nil
		},
		Undecided: true,
		Resource:  id,
	})
	if err != nil {
		return nil, toStatus(err)
	}
	a.nudge()
	a.watches.wake(id)
	return answer(outcome, &ordersv1.CancelOrderResponse{})
}

// GetOrder returns one order of the caller's tenant.
func (a *api) GetOrder(ctx context.Context, r *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	id, err := uuid.Parse(r.GetId())
	if err != nil {
		return nil, toStatus(ErrNotFound)
	}
	o, err := a.store.get(ctx, auth.Tenant(ctx), id)
	if err != nil {
		return nil, toStatus(err)
	}
	return &ordersv1.GetOrderResponse{Order: a.show.order(ctx, o)}, nil
}

// UpdateOrder changes contact and note of the version that the etag names. It
// reads, decides and writes over the version read; whoever is overtaken in
// between decides again on what is there then.
func (a *api) UpdateOrder(ctx context.Context, r *ordersv1.UpdateOrderRequest) (*ordersv1.UpdateOrderResponse, error) {
	id, err := uuid.Parse(r.GetId())
	if err != nil {
		return nil, toStatus(ErrNotFound)
	}
	edit := Edit{ShippingNote: r.ShippingNote}
	if r.ContactEmail != nil {
		edit.Email = new(normalEmail(r.GetContactEmail()))
	}
	for {
		o, err := a.store.get(ctx, auth.Tenant(ctx), id)
		if err != nil {
			return nil, toStatus(err)
		}
		changed, err := o.Edit(versionOf(r.GetEtag()), edit, a.now())
		if err != nil {
			return nil, toStatus(err)
		}
		if changed {
			err = a.store.update(ctx, o)
		}
		switch {
		case errors.Is(err, errOvertaken):
			continue
		case err != nil:
			return nil, toStatus(err)
		}
		a.watches.wake(id)
		return &ordersv1.UpdateOrderResponse{Order: a.show.order(ctx, o)}, nil
	}
}

// answer decodes an outcome. The client gets the stored bytes, not these.
func answer[M proto.Message](outcome idempotency.Outcome, into M) (M, error) {
	if err := outcome.Into(into); err != nil {
		var none M
		return none, fmt.Errorf("decode the stored answer: %w", err)
	}
	return into, nil
}
