package orders

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// TestCancellingInEveryState: where it is allowed it is decided at once, for its
// key for ever, and what was taken is given back; elsewhere it changes nothing.
func TestCancellingInEveryState(t *testing.T) {
	t.Parallel()
	for state, test := range map[State]struct {
		reach   func(*testing.T, *harness) string
		allowed bool
		taken   int // how often the money was taken, and given back, in the end
	}{
		PendingPayment: {func(t *testing.T, h *harness) string {
			h.payments.set(fakeFaults{leavePending: true})
			return h.create(t, cups()).GetId()
		}, true, 1},
		Paid: {func(t *testing.T, h *harness) string { return h.create(t, cups()).GetId() }, true, 1},
		PaymentFailed: {func(t *testing.T, h *harness) string {
			declined := cups()
			declined.PaymentMethod = "pm_card_declined"
			return h.create(t, declined).GetId()
		}, false, 0},
		Cancelling: {func(t *testing.T, h *harness) string {
			id := h.create(t, cups()).GetId()
			h.payments.set(fakeFaults{leavePending: true})
			h.cancel(t, id)
			eventually(t, "the refund is under way", h.payments.refundPending)
			return id
		}, false, 1},
		Cancelled: {func(t *testing.T, h *harness) string {
			id := h.create(t, cups()).GetId()
			h.cancel(t, id)
			h.awaitState(t, id, stateCancelled)
			return id
		}, false, 1},
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			h := start(t)
			id := test.reach(t, h)
			require.Equal(t, ordersv1.OrderState_value["ORDER_STATE_"+string(state)], int32(h.get(t, id).GetState()))
			before := h.get(t, id)
			ctx := keyed(t.Context())
			first, err := h.client.CancelOrder(ctx, &ordersv1.CancelOrderRequest{Id: id})
			if test.allowed {
				require.NoError(t, err)
				require.Equal(t, stateCancelling, first.GetOrder().GetState())
			} else {
				requireReason(t, apierror.ReasonWrongState, err)
				requireSame(t, before, h.get(t, id))
			}
			h.payments.settleAs(paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED, paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED)
			end := stateCancelled
			if state == PaymentFailed {
				end = stateFailed
			}
			h.awaitState(t, id, end)
			again, err := h.client.CancelOrder(ctx, &ordersv1.CancelOrderRequest{Id: id})
			if test.allowed {
				require.NoError(t, err)
				requireSame(t, first, again)
			} else {
				requireReason(t, apierror.ReasonWrongState, err)
			}
			h.requireMoney(t, test.taken, test.taken)
			h.requireNothingOpen(t)
		})
	}
}

// TestCancellingRacesWithThePayment puts a cancellation before and after each
// step of a creation, with each way in which payments can end. Whoever comes
// first, what was taken is given back once, and both have one answer for ever.
func TestCancellingRacesWithThePayment(t *testing.T) {
	t.Parallel()
	const (
		beforeTheCharge    = "before the charge"
		beforeItsAnswer    = "after the charge, before the second commit"
		afterTheOtherOne   = "after the second commit"
		betweenBothCommits = "while the second commit is at work"
	)
	type outcome struct {
		faults fakeFaults
		card   string
		settle paymentsv1.PaymentState
		taken  int
	}
	const captured, declined = paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED, paymentsv1.PaymentState_PAYMENT_STATE_DECLINED
	for name, how := range map[string]outcome{
		"taken":                   {fakeFaults{}, "pm_card_ok", captured, 1},
		"declined":                {fakeFaults{}, "pm_card_declined", captured, 0},
		"unknown, then taken":     {fakeFaults{leavePending: true}, "pm_card_ok", captured, 1},
		"unknown, then declined":  {fakeFaults{leavePending: true}, "pm_card_ok", declined, 0},
		"taken, its answer lost":  {fakeFaults{loseAnswers: true}, "pm_card_ok", captured, 1},
		"lost, pending, declined": {fakeFaults{loseAnswers: true, leavePending: true}, "pm_card_ok", declined, 0},
	} {
		for _, when := range []string{beforeTheCharge, beforeItsAnswer, afterTheOtherOne, betweenBothCommits} {
			t.Run(fmt.Sprintf("%s, cancelled %s", name, when), func(t *testing.T) {
				t.Parallel()
				h := start(t)
				faults := how.faults
				if when != afterTheOtherOne {
					faults.gate, faults.reached = make(chan struct{}), make(chan struct{}, 1024)
					faults.charged = when != beforeTheCharge
				}
				h.payments.set(faults)
				request := cups()
				request.PaymentMethod = how.card
				ctx := keyed(t.Context())
				created := make(chan *ordersv1.CreateOrderResponse, 1)
				go func() {
					response, err := h.client.CreateOrder(ctx, request)
					if err != nil {
						t.Error(err)
					}
					created <- response
				}()

				var first *ordersv1.CreateOrderResponse
				cancelling := keyed(t.Context())
				var refusal error
				cancel := func() {
					_, refusal = h.client.CancelOrder(cancelling, &ordersv1.CancelOrderRequest{Id: h.only(t).GetId()})
				}
				switch when {
				case afterTheOtherOne:
					first = <-created
					cancel()
				case betweenBothCommits:
					// Their order is the scheduler's; either is right.
					if !faults.loseAnswers {
						<-faults.reached
					} else {
						eventually(t, "the charge", func() bool { return h.payments.charges() > 0 })
					}
					cancelled := make(chan struct{})
					go func() { defer close(cancelled); cancel() }()
					close(faults.gate)
					first = <-created
					<-cancelled
				default:
					if faults.loseAnswers && faults.charged { // there is no answer that the gate could hold
						eventually(t, "the charge", func() bool { return h.payments.charges() > 0 })
					} else {
						<-faults.reached
					}
					cancel()
					close(faults.gate)
					first = <-created
				}
				if how.settle != 0 {
					h.payments.settleAs(how.settle, paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED)
				}

				id := first.GetOrder().GetId()
				if refusal != nil { // only for a card that was declined before
					requireReason(t, apierror.ReasonWrongState, refusal)
					require.Zero(t, how.taken)
					h.awaitState(t, id, stateFailed)
				} else {
					h.awaitState(t, id, stateCancelled)
				}
				h.requireNothingOpen(t)
				h.requireMoney(t, how.taken, how.taken)
				again, err := h.client.CreateOrder(ctx, request)
				require.NoError(t, err)
				requireSame(t, first, again)
			})
		}
	}
}
