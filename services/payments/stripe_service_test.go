package payments

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/services/payments/stripetest"
)

const visa = "pm_card_visa"

// startOnStripe runs the service on Stripe, behind a line, without a completer.
func startOnStripe(t *testing.T) (*harness, *stripetest.Server, *line) {
	t.Helper()
	var l *line
	fake, p := startStripe(t, func(fake *stripetest.Server) string {
		l = startLine(t, fake.URL)
		return l.url
	})
	return startOn(t, p), fake, l
}

// heldAtStripe is what Stripe holds of a payment, refunds deducted.
func heldAtStripe(fake *stripetest.Server, payment string) (net int64) {
	for _, intent := range fake.Intents() {
		if intent.Metadata[metaPayment] != payment {
			continue
		}
		net += intent.AmountReceived
		for _, refund := range fake.Refunds() {
			if refund.PaymentIntent == intent.ID {
				net -= refund.Amount
			}
		}
	}
	return net
}

// chargesAtStripe is how many charges there are that were not declined.
func chargesAtStripe(fake *stripetest.Server) int {
	return doneAtStripe(fake, Charge) + doneAtStripe(fake, Authorize)
}

func TestOnStripeAnUnknownOutcomeIsFinishedOnce(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]stripetest.Fault{
		"a stored error after the charge":   stripetest.ErrorAfter,
		"no answer after the charge":        stripetest.TimeoutAfter,
		"the connection cut after it":       stripetest.CutAfter,
		"too many requests, nothing stored": stripetest.RateLimit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, fake, _ := startOnStripe(t)
			fake.Fail(fault)
			p := h.charge(t, "order-1", visa, 1000)
			require.Equal(t, processing, p.GetState())
			h.complete(t)
			h.becomes(t, p.GetId(), captured)
			fake.Fail(fault)
			gave, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId(), Amount: eur(300)})
			require.NoError(t, err)
			require.Equal(t, paymentsv1.PendingOperation_PENDING_OPERATION_REFUND, gave.GetPayment().GetPendingOperation())
			require.Equal(t, int64(300), minor(h.becomes(t, p.GetId(), captured).GetRefunded()))
			require.Equal(t, int64(700), heldAtStripe(fake, p.GetId()))
			require.Equal(t, 1, chargesAtStripe(fake))
		})
	}
}

// TestOnStripeAStoredErrorThatDidNothingEndsWithTheHorizon is the other half: Stripe repeats its
// 500 as long as it knows the key, so that nothing is sent in vain for ever. The
// payment is open until the horizon has passed, and then has failed.
func TestOnStripeAStoredErrorThatDidNothingEndsWithTheHorizon(t *testing.T) {
	t.Parallel()
	h, fake, _ := startOnStripe(t)
	fake.Fail(stripetest.ErrorBefore)
	p := h.charge(t, "order-1", visa, 1000)
	require.Equal(t, processing, p.GetState())
	h.complete(t)
	require.Eventually(t, func() bool {
		writes, _ := fake.Requests()
		return writes >= 3
	}, 20*time.Second, 10*time.Millisecond, "the key is sent again")
	require.Equal(t, processing, h.get(t, p.GetId()).GetState())
	h.exec(t, `UPDATE payments SET open_since = open_since - interval '24 hours'`)
	h.becomes(t, p.GetId(), failed)
	require.Zero(t, chargesAtStripe(fake))
}

// TestPastTheHorizonOfStripeNothingIsSentAgain: Stripe has forgotten the key by
// then, and would charge again.
func TestPastTheHorizonOfStripeNothingIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arrives bool
		becomes paymentsv1.PaymentState
		charges int
	}{
		"what was charged is found":          {true, captured, 1},
		"what never arrived is given up for": {false, failed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, fake, l := startOnStripe(t)
			fake.SearchLags() // only the list can tell
			fake.Advance(-24 * time.Hour)
			var p *paymentsv1.Payment
			l.disturb(http.MethodPost, disturbance{"the connection breaks", test.arrives, breakOff}, func() {
				p = h.charge(t, "order-1", visa, 1000)
			})
			require.Equal(t, processing, p.GetState())
			fake.Advance(24 * time.Hour)
			fake.ForgetKeys()
			h.exec(t, `UPDATE payments SET open_since = open_since - interval '24 hours'`)
			h.complete(t)
			h.becomes(t, p.GetId(), test.becomes)
			require.Equal(t, test.charges, chargesAtStripe(fake))
			writes, _ := fake.Requests()
			require.Equal(t, test.charges, writes, "it was looked up, and not sent")
		})
	}
}

// lostLongAgo has an answer of Stripe lost, of a send some minutes after the
// operation began, and looks what becomes of it a day later with such a horizon.
// Stripe has forgotten the key, and only a list of everything still shows the
// charge. It returns how many there are in the end.
func lostLongAgo(t *testing.T, horizon time.Duration) int {
	t.Helper()
	h, fake, _ := startOnStripe(t)
	h.api.operations.processor.(*StripeProcessor).horizon = horizon
	fake.SearchLags()
	fake.Advance(-24*time.Hour + 10*time.Minute)
	fake.Fail(stripetest.CutAfter)
	p := h.charge(t, "order-1", visa, 1000)
	require.Equal(t, processing, p.GetState())
	fake.Advance(24*time.Hour - 10*time.Minute)
	fake.ForgetKeys()
	h.exec(t, `UPDATE payments SET open_since = open_since - interval '24 hours'`)
	h.complete(t)
	h.becomes(t, p.GetId(), captured)
	return chargesAtStripe(fake)
}

func TestAChargeThatWasLostLongAgoIsFound(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1, lostLongAgo(t, 23*time.Hour))
}

// TestControlAHorizonLongerThanStripesMemoryChargesAgain is why
// HOLDFAST_STRIPE_HORIZON has an upper bound.
func TestControlAHorizonLongerThanStripesMemoryChargesAgain(t *testing.T) {
	t.Parallel()
	require.Equal(t, 2, lostLongAgo(t, 48*time.Hour))
}
