package payments

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// onBoth runs a test on the service with each processor; card is one that pays,
// net what the processor holds of a payment.
func onBoth(t *testing.T, test func(t *testing.T, h *harness, card string, net func(t *testing.T, id string) int64)) {
	t.Helper()
	t.Run("sandbox", func(t *testing.T) {
		t.Parallel()
		h := start(t)
		test(t, h, "pm_card_ok", func(t *testing.T, id string) int64 { return h.sandbox.total(t, id).NetCaptured })
	})
	t.Run("stripe", func(t *testing.T) {
		t.Parallel()
		h, fake, _ := startOnStripe(t)
		h.complete(t)
		test(t, h, visa, func(_ *testing.T, id string) int64 { return heldAtStripe(fake, id) })
	})
}

// taken is what a payment says that it took, our ledger and the processor
// agreeing.
func (h *harness) taken(t *testing.T, id string, net func(*testing.T, string) int64) int64 {
	t.Helper()
	p := h.get(t, id)
	held := minor(p.GetCaptured()) - minor(p.GetRefunded())
	require.Equal(t, held, h.ledger(t, id), "our ledger")
	require.Equal(t, held, net(t, id), "the processor")
	return held
}

func TestACaptureInPartReleasesTheRest(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h *harness, card string, net func(*testing.T, string) int64) {
		id := h.authorize(t, "order-1", card, 1000).GetId()
		capture := func(minor int64) (*paymentsv1.CapturePaymentResponse, error) {
			return h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: id, Amount: eur(minor)})
		}
		_, err := capture(1001)
		requireReason(t, apierror.ReasonWrongState, err)
		_, err = capture(0)
		requireReason(t, apierror.ReasonInvalidField, err)
		dollars := eur(600)
		dollars.CurrencyCode = "USD"
		_, err = h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: id, Amount: dollars})
		requireReason(t, apierror.ReasonInvalidField, err)
		require.Zero(t, h.taken(t, id, net))

		took, err := capture(600)
		require.NoError(t, err)
		require.Equal(t, captured, took.GetPayment().GetState())
		require.Equal(t, int64(600), minor(took.GetPayment().GetCaptured()))
		require.Equal(t, int64(1000), minor(took.GetPayment().GetAmount()))
		require.Equal(t, int64(600), h.taken(t, id, net))
		_, err = capture(400)
		requireReason(t, apierror.ReasonWrongState, err)
		_, err = h.client.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: id})
		requireReason(t, apierror.ReasonWrongState, err)

		_, err = h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: id, Amount: eur(601)})
		requireReason(t, apierror.ReasonWrongState, err)
		part, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: id, Amount: eur(250)})
		require.NoError(t, err)
		require.Equal(t, captured, part.GetPayment().GetState())
		rest, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: id})
		require.NoError(t, err)
		require.Equal(t, refunded, rest.GetPayment().GetState())
		require.Equal(t, int64(600), minor(rest.GetPayment().GetRefunded()))
		require.Zero(t, h.taken(t, id, net))
	})
}

// TestOfCaptureVoidAndRefundAtOnceOneBegins: whatever wins, the others are told
// that it is not their turn, and one operation reaches the processor.
func TestOfCaptureVoidAndRefundAtOnceOneBegins(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h *harness, card string, net func(*testing.T, string) int64) {
		for range 5 {
			id := h.authorize(t, freshKey(), card, 1000).GetId()
			ask := []func() error{
				func() error {
					_, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: id, Amount: eur(600)})
					return err
				},
				func() error {
					_, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: id})
					return err
				},
				func() error {
					_, err := h.client.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: id})
					return err
				},
				func() error { // has nothing to give back, unless it comes after a capture
					_, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: id, Amount: eur(100)})
					return err
				},
			}
			errs := make([]error, len(ask))
			var clients sync.WaitGroup
			for i := range ask {
				clients.Go(func() { errs[i] = ask[i]() })
			}
			clients.Wait()
			ended := 0
			for i, err := range errs {
				if err == nil {
					if i < 3 {
						ended++
					}
					continue
				}
				reason, _ := apierror.ReasonOf(err)
				require.Contains(t, []apierror.Reason{apierror.ReasonOperationOpen, apierror.ReasonWrongState}, reason, "%v", err)
			}
			require.Equal(t, 1, ended, "one of two captures and a void")
			h.becomes(t, id, h.get(t, id).GetState())
			h.taken(t, id, net)
		}
	})
}

func TestConcurrentRefundsNeverExceedWhatWasCapturedInPart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h *harness, card string, net func(*testing.T, string) int64) {
		id := h.authorize(t, "order-1", card, 1000).GetId()
		_, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: id, Amount: eur(700)})
		require.NoError(t, err)
		var clients sync.WaitGroup
		for range 6 {
			clients.Go(func() {
				for { // until there is not enough left
					_, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: id, Amount: eur(200)})
					if reason, _ := apierror.ReasonOf(err); err == nil || reason == apierror.ReasonOperationOpen {
						continue
					}
					if reason, _ := apierror.ReasonOf(err); reason != apierror.ReasonWrongState {
						t.Errorf("refused with %v", err)
					}
					return
				}
			})
		}
		clients.Wait()
		require.Equal(t, int64(600), minor(h.becomes(t, id, captured).GetRefunded()))
		require.Equal(t, int64(100), h.taken(t, id, net))
	})
}

// TestACaptureInPartIsFinishedAfterTheProcessorFellSilent: what the completer
// sends again is the part, not the whole.
func TestACaptureInPartIsFinishedAfterTheProcessorFellSilent(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		h, fake, l := startOnStripe(t)
		id := h.authorize(t, "order-1", visa, 1000).GetId()
		l.disturb(http.MethodPost, disturbance{"the connection breaks", arrives, breakOff}, func() {
			took, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: id, Amount: eur(600)})
			require.NoError(t, err)
			require.Equal(t, paymentsv1.PendingOperation_PENDING_OPERATION_CAPTURE, took.GetPayment().GetPendingOperation())
		})
		h.complete(t)
		require.Equal(t, int64(600), minor(h.becomes(t, id, captured).GetCaptured()))
		require.Equal(t, int64(600), h.taken(t, id, func(_ *testing.T, id string) int64 { return heldAtStripe(fake, id) }))
	}
}
