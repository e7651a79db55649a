package payments

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func TestRefundsInPartAddUpToARefund(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	part, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: eur(300)})
	require.NoError(t, err)
	require.Equal(t, captured, part.GetPayment().GetState())
	require.Equal(t, int64(300), minor(part.GetPayment().GetRefunded()))
	h.agrees(t, p.GetId())

	_, err = h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: eur(701)})
	requireReason(t, apierror.ReasonWrongState, err)
	other := eur(100)
	other.CurrencyCode = "USD"
	_, err = h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: other})
	requireReason(t, apierror.ReasonInvalidField, err)

	rest, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId()})
	require.NoError(t, err)
	require.Equal(t, refunded, rest.GetPayment().GetState())
	require.Equal(t, int64(1000), minor(rest.GetPayment().GetRefunded()))
	h.agrees(t, p.GetId())
	_, err = h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonWrongState, err)
}

func TestConcurrentRefundsNeverExceedTheCapture(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	var given atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 5 { // those that find an operation open try again
				r, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: eur(300)})
				if err == nil && r.GetPayment().GetPendingOperation() == 0 {
					given.Add(300)
				}
			}
		})
	}
	clients.Wait()
	require.Equal(t, int64(900), given.Load())
	require.Equal(t, int64(900), minor(h.becomes(t, p.GetId(), captured).GetRefunded()))
	h.agrees(t, p.GetId())
}

func TestOneOperationIsOpenAtATime(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	h.sandbox.script(t, `{"rules":[{"kind":"error","when":"after","operations":["refund"],"times":1}]}`)
	r, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: eur(300)})
	require.NoError(t, err)
	require.Equal(t, paymentsv1.PendingOperation_PENDING_OPERATION_REFUND, r.GetPayment().GetPendingOperation())
	require.Zero(t, minor(r.GetPayment().GetRefunded()), "nothing is known yet")
	_, err = h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: eur(300)})
	requireReason(t, apierror.ReasonOperationOpen, err)

	h.complete(t)
	require.Equal(t, int64(300), minor(h.becomes(t, p.GetId(), captured).GetRefunded()))
	h.agrees(t, p.GetId())
}
