package payments

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// Whether the processor took the money before it fell silent or not, the answer
// is PROCESSING and stays so for its key, the payment is finished in the
// background, and the card is charged once.
func TestAnUnknownOutcomeIsProcessingAndIsFinished(t *testing.T) {
	t.Parallel()
	for _, card := range []string{
		"pm_card_timeout_before_charge",
		"pm_card_timeout_after_charge",
		"pm_card_drop_before",
		"pm_card_drop_after",
		"pm_card_reset_before",
		"pm_card_reset_after",
		"pm_card_500",
		"pm_card_500_after_charge",
		"pm_card_503",
		"pm_card_rate_limited",
		"pm_card_slow",
		"pm_card_settles_later",
	} {
		t.Run(card, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			key := idempotency.NewKey().String()
			request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(1000), PaymentMethod: card}
			first, err := h.client.ChargePayment(withKey(t, key), request)
			require.NoError(t, err)
			require.Equal(t, processing, first.GetPayment().GetState())
			require.Zero(t, minor(first.GetPayment().GetCaptured()))

			p := h.becomes(t, first.GetPayment().GetId(), captured)
			require.Equal(t, int64(1000), minor(p.GetCaptured()))
			h.agrees(t, p.GetId())
			again, err := h.client.ChargePayment(withKey(t, key), request)
			require.NoError(t, err)
			require.True(t, proto.Equal(first, again), "the answer was sealed before it was given")
		})
	}
}

func TestADuplicatedRequestChargesOnce(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.charge(t, "order-1", "pm_card_duplicate", 1000)
	require.Equal(t, captured, p.GetState())
	h.agrees(t, p.GetId())
}

func TestEveryOperationIsFinishedAfterTheProcessorFellSilent(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		`{"rules":[{"kind":"drop","when":"before","sends":1}]}`,
		`{"rules":[{"kind":"drop","when":"after","sends":1}]}`,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			h.sandbox.script(t, fault)

			p := h.authorize(t, "order-1", "pm_card_ok", 1000)
			require.Equal(t, processing, p.GetState())
			h.becomes(t, p.GetId(), authorized)
			took, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: p.GetId()})
			require.NoError(t, err)
			require.Equal(t, authorized, took.GetPayment().GetState())
			require.Equal(t, paymentsv1.PendingOperation_PENDING_OPERATION_CAPTURE, took.GetPayment().GetPendingOperation())
			h.becomes(t, p.GetId(), captured)
			gave, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId()})
			require.NoError(t, err)
			require.Equal(t, paymentsv1.PendingOperation_PENDING_OPERATION_REFUND, gave.GetPayment().GetPendingOperation())
			h.becomes(t, p.GetId(), refunded)
			h.agrees(t, p.GetId())

			q := h.authorize(t, "order-2", "pm_card_ok", 1000)
			h.becomes(t, q.GetId(), authorized)
			released, err := h.client.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: q.GetId()})
			require.NoError(t, err)
			require.Equal(t, paymentsv1.PendingOperation_PENDING_OPERATION_VOID, released.GetPayment().GetPendingOperation())
			h.becomes(t, q.GetId(), voided)
			h.agrees(t, q.GetId())
		})
	}
}

func TestADeclineInTheBackgroundIsADecline(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	h.sandbox.script(t, `{"rules":[{"kind":"unavailable","operations":["charge","lookup"]}]}`)
	p := h.charge(t, "order-1", "pm_card_declined", 1000)
	require.Equal(t, processing, p.GetState())
	h.sandbox.script(t, `{}`)
	h.complete(t)
	require.Equal(t, "card_declined", h.becomes(t, p.GetId(), declined).GetDeclineCode())
	h.agrees(t, p.GetId())
}

func TestAProcessorThatIsKilledIsCaughtUpWithWhenItReturns(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.sandbox.kill()
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	require.Equal(t, processing, p.GetState())
	require.Equal(t, processing, h.get(t, p.GetId()).GetState(), "down is not failed")
	h.sandbox.restart(t)
	h.becomes(t, p.GetId(), captured)
	h.agrees(t, p.GetId())
}

// A process that dies between the two commits leaves what these tests leave: a
// key without an answer, a payment in PROCESSING, and maybe a charge.
func TestACrashBetweenTheCommitsIsFinishedByTheCompleter(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]bool{
		"before the processor was asked": false,
		"after the processor charged":    true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startIdle(t)
			key := idempotency.NewKey()
			request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(1000), PaymentMethod: "pm_card_ok"}
			p, attempt := h.firstCommit(t, key, request)
			if sent {
				_, err := send(t.Context(), h.api.operations.processor, attempt.ProviderKey(string(Charge)), p)
				require.NoError(t, err)
			}
			_, err := h.client.ChargePayment(withKey(t, key.String()), request)
			requireReason(t, apierror.ReasonKeyInFlight, err)

			h.complete(t) // nobody gave the lease back: it has to run out
			h.becomes(t, p.ID.String(), captured)
			h.agrees(t, p.ID.String())
			answered, err := h.client.ChargePayment(withKey(t, key.String()), request)
			require.NoError(t, err, "the client's retry gets the answer that the crash withheld")
			require.Equal(t, captured, answered.GetPayment().GetState())
		})
	}
}

// firstCommit does what ChargePayment does before it asks the processor.
func (h *harness) firstCommit(t *testing.T, key idempotency.Key, r *paymentsv1.ChargePaymentRequest) (*Payment, *idempotency.Attempt) {
	t.Helper()
	call := idempotency.NewCall("acme", key, paymentsv1.PaymentsService_ChargePayment_FullMethodName, r)
	id := h.api.derive.ResourceID(call.Tenant, key, "payment")
	p, err := New(id, call.Tenant, r.GetReference(), r.GetPaymentMethod(), euros(minor(r.GetAmount())), Charge, clock())
	require.NoError(t, err)
	attempt, _, err := h.keys.BeginInsert(t.Context(), call, insertPayment, id, insertPaymentArgs(p)...)
	require.NoError(t, err)
	require.NotNil(t, attempt)
	return p, attempt
}

// A slow owner whose lease ran out comes back after the completer has finished:
// its second commit must lose and its answer must be the completer's.
func TestASlowOwnerLosesToTheCompleter(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	key := idempotency.NewKey()
	request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(1000), PaymentMethod: "pm_card_ok"}
	p, attempt := h.firstCommit(t, key, request)
	h.complete(t)
	h.becomes(t, p.ID.String(), captured)

	outcome, err := h.api.operations.close(t.Context(), attempt, p, "another-key", Outcome{Verdict: Refused, DeclineCode: "late"})
	require.NoError(t, err)
	var answered paymentsv1.ChargePaymentResponse
	require.NoError(t, outcome.Into(&answered))
	require.Equal(t, captured, answered.GetPayment().GetState())
	require.Equal(t, captured, h.get(t, p.ID.String()).GetState())
	h.agrees(t, p.ID.String())
}

func TestACallerThatGivesUpStrandsNothing(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	key := idempotency.NewKey()
	request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(1000), PaymentMethod: "pm_card_ok"}
	h.sandbox.script(t, `{"rules":[{"kind":"slow","delay":"200ms"}]}`)
	id := h.api.derive.ResourceID("acme", key, "payment")
	ctx, giveUp := context.WithCancel(withKey(t, key.String()))
	defer giveUp()
	answered := make(chan error, 1)
	go func() {
		_, err := h.client.ChargePayment(ctx, request)
		answered <- err
	}()
	require.Eventually(t, func() bool { // begun, and with the processor now
		_, err := h.api.store.get(t.Context(), "acme", id)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	giveUp()
	require.Error(t, <-answered)
	h.becomes(t, id.String(), captured) // without any completer: the handler went on
	h.agrees(t, id.String())
}

// Past the processor's horizon sending again could charge again, so a key that
// has left no trace is given up, and the reference is free for another payment.
func TestPastTheHorizonNothingIsSentAgain(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	h.sandbox.kill()
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	require.Equal(t, processing, p.GetState())
	h.exec(t, `UPDATE payments SET open_since = open_since - interval '2 hours'`)
	h.sandbox.restart(t)
	h.complete(t)
	h.becomes(t, p.GetId(), failed)
	require.Zero(t, h.sandbox.total(t, p.GetId()).Opened)
	require.Equal(t, captured, h.charge(t, "order-1", "pm_card_ok", 1000).GetState())
}

func TestPastTheHorizonAChargeIsStillFound(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	p := h.charge(t, "order-1", "pm_card_drop_after", 1000)
	require.Equal(t, processing, p.GetState())
	h.exec(t, `UPDATE payments SET open_since = open_since - interval '2 hours'`)
	h.complete(t)
	h.becomes(t, p.GetId(), captured)
	h.agrees(t, p.GetId())
}

func TestTheLedgerIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	for _, sql := range []string{
		`UPDATE ledger_entries SET amount = 1`,
		`DELETE FROM ledger_entries`,
		`TRUNCATE ledger_entries`,
	} {
		_, err := h.pool.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "never changed", sql)
	}
	h.agrees(t, p.GetId())
	_, err := h.client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Id: uuid.NewString()})
	requireReason(t, apierror.ReasonNotFound, err)
}
