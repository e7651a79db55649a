package orders

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func TestAPaidOrderIsCancelledAndGivenBackOnce(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	ctx := keyed(t.Context())
	first, err := h.client.CancelOrder(ctx, &ordersv1.CancelOrderRequest{Id: o.GetId()})
	require.NoError(t, err)
	require.Equal(t, stateCancelling, first.GetOrder().GetState())

	cancelled := h.awaitState(t, o.GetId(), stateCancelled)
	require.Equal(t, o.GetPaymentId(), cancelled.GetPaymentId())
	again, err := h.client.CancelOrder(ctx, &ordersv1.CancelOrderRequest{Id: o.GetId()})
	require.NoError(t, err)
	requireSame(t, first, again)
	h.requireMoney(t, 1, 1)
	h.requireNothingOpen(t)
}

func TestAnOrderThatIsOverCannotBeCancelled(t *testing.T) {
	t.Parallel()
	h := start(t)
	declined := cups()
	declined.PaymentMethod = "pm_card_declined"
	failed := h.create(t, declined).GetId()

	cancelled := h.create(t, cups()).GetId()
	h.cancel(t, cancelled)
	h.awaitState(t, cancelled, stateCancelled)

	cancelling := h.create(t, cups()).GetId()
	h.payments.set(fakeFaults{down: true})
	h.cancel(t, cancelling)

	for name, id := range map[string]string{"PAYMENT_FAILED": failed, "CANCELLED": cancelled, "CANCELLING": cancelling} {
		t.Run(name, func(t *testing.T) {
			before := h.get(t, id)
			_, err := h.client.CancelOrder(keyed(t.Context()), &ordersv1.CancelOrderRequest{Id: id})
			requireReason(t, apierror.ReasonWrongState, err)
			require.ErrorContains(t, err, name)
			requireSame(t, before, h.get(t, id))
		})
	}
}

func TestAPendingOrderIsCancelledWhateverBecameOfItsCharge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault    fakeFaults
		then     func(*fakePayments)
		captures int
	}{
		"it happened and the answer was lost": {fault: fakeFaults{loseAnswers: true, leavePending: true}, then: func(p *fakePayments) {
			p.settle(paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED)
		}, captures: 1},
		"it was declined": {fault: fakeFaults{leavePending: true}, then: func(p *fakePayments) {
			p.settle(paymentsv1.PaymentState_PAYMENT_STATE_DECLINED)
		}},
		"it never arrived": {fault: fakeFaults{down: true}, then: func(p *fakePayments) {
			p.set(fakeFaults{})
		}, captures: 1}, // so that it can never arrive later, it is sent, and given back
		"its key has expired": {fault: fakeFaults{down: true}, then: func(p *fakePayments) {
			p.set(fakeFaults{expired: true})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			h.payments.set(test.fault)
			o := h.create(t, cups())
			require.Equal(t, statePending, o.GetState())
			require.Equal(t, stateCancelling, h.cancel(t, o.GetId()).GetState())
			test.then(h.payments)
			h.awaitState(t, o.GetId(), stateCancelled)
			h.requireMoney(t, test.captures, test.captures)
			h.requireNothingOpen(t)
		})
	}
}

// TestAnOrderCancelledWhileItIsBeingPaid: the charge succeeds, and its order is
// not the creation's to decide any more.
func TestAnOrderCancelledWhileItIsBeingPaid(t *testing.T) {
	t.Parallel()
	h := start(t)
	gate, reached := make(chan struct{}), make(chan struct{}, 64)
	h.payments.set(fakeFaults{gate: gate, reached: reached})
	answered := make(chan *ordersv1.Order, 1)
	ctx := keyed(t.Context())
	go func() {
		response, err := h.client.CreateOrder(ctx, cups())
		if err != nil {
			t.Error(err)
		}
		answered <- response.GetOrder()
	}()
	<-reached
	id := h.only(t).GetId()
	h.cancel(t, id)
	close(gate)
	require.Contains(t, []ordersv1.OrderState{stateCancelling, stateCancelled}, (<-answered).GetState())
	h.awaitState(t, id, stateCancelled)
	h.requireMoney(t, 1, 1)
	h.requireNothingOpen(t)
}

func TestARefundThatTakesItsTimeIsWaitedFor(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	h.payments.set(fakeFaults{leavePending: true})
	h.cancel(t, o.GetId())
	eventually(t, "the refund is under way", h.payments.refundPending)
	require.Equal(t, stateCancelling, h.get(t, o.GetId()).GetState())
	h.payments.settle(paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED)
	h.awaitState(t, o.GetId(), stateCancelled)
	h.requireMoney(t, 1, 1)
}

func TestARefundThatCameToNothingIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*fakePayments){
		"the processor never did it": func(p *fakePayments) { p.settle(paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED) },
		"its key expired meanwhile": func(p *fakePayments) {
			p.expireKeys()
			p.settle(paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			o := h.create(t, cups())
			h.payments.set(fakeFaults{leavePending: true})
			h.cancel(t, o.GetId())
			eventually(t, "the refund is under way", h.payments.refundPending)
			end(h.payments)
			h.awaitState(t, o.GetId(), stateCancelled)
			h.requireMoney(t, 1, 1)
		})
	}
}

func TestOfManyCancellationsOneWins(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	var (
		wins  atomic.Int32
		group sync.WaitGroup
	)
	for range 8 {
		group.Go(func() {
			_, err := h.client.CancelOrder(keyed(t.Context()), &ordersv1.CancelOrderRequest{Id: o.GetId()})
			if err == nil {
				wins.Add(1)
				return
			}
			if reason, _ := apierror.ReasonOf(err); reason != apierror.ReasonWrongState {
				t.Errorf("refused with %v", err)
			}
		})
	}
	group.Wait()
	require.Equal(t, int32(1), wins.Load())
	h.awaitState(t, o.GetId(), stateCancelled)
	h.requireMoney(t, 1, 1)
}
