package payments

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func TestBooksThatAgreeAreFoundToAgree(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.charge(t, "charged", "pm_card_ok", 1000)
	h.charge(t, "declined", "pm_card_declined", 1000)
	h.becomes(t, h.charge(t, "found", "pm_card_drop_after", 1000).GetId(), captured)
	h.becomes(t, h.charge(t, "later", "pm_card_settles_later", 1000).GetId(), captured)
	refunded := h.charge(t, "refunded", "pm_card_ok", 1000)
	for _, amount := range []int64{400, 600} {
		_, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: refunded.GetId(), Amount: eur(amount)})
		require.NoError(t, err)
	}
	h.authorize(t, "authorized", "pm_card_ok", 1000)
	_, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: h.authorize(t, "captured", "pm_card_ok", 1000).GetId()})
	require.NoError(t, err)
	_, err = h.client.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: h.authorize(t, "voided", "pm_card_ok", 1000).GetId()})
	require.NoError(t, err)

	r := h.reconciler(t, soon())
	require.Empty(t, h.reconcileWith(t, r))
	done, err := r.runs.get(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, int64(12), done.Records, "of the processor")
	require.Equal(t, int64(6+1+1), done.Entries, "entries, and what is authorized")
	require.Empty(t, h.reconcile(t), "and again, over the same time")
}

// The completer would come to it in an hour. It finds the outcome itself and
// stores it under its own epoch: nothing is written around it.
func TestWhatTheProcessorDecidedIsHealed(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	p := h.charge(t, "order-1", "pm_card_drop_after", 1000)
	require.Equal(t, processing, p.GetState())
	h.exec(t, `UPDATE idempotency_keys SET lease_until = now() + interval '1 hour' WHERE resource = $1`, p.GetId())
	h.complete(t)
	f := only(t, h.reconcile(t))
	require.Equal(t, Undecided, f.Kind)
	require.Equal(t, FindingHealed, f.State)
	require.Equal(t, p.GetId(), f.Payment)
	require.Equal(t, captured, h.get(t, p.GetId()).GetState())
	h.agrees(t, p.GetId())
	require.Empty(t, h.reconcile(t))
}

func TestWithoutACompleterWhatIsUndecidedIsRaised(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	p := h.charge(t, "order-1", "pm_card_drop_after", 1000)
	r := h.reconciler(t, soon())
	r.patience = 0
	require.Equal(t, FindingOpen, only(t, h.reconcileWith(t, r)).State)
	require.Equal(t, processing, h.get(t, p.GetId()).GetState(), "nobody wrote around the completer")
	h.complete(t)
	h.becomes(t, p.GetId(), captured)
	require.Equal(t, FindingHealed, only(t, h.reconcile(t)).State)
}

// Neither side has anything of it: that is for the completer and its alert.
func TestWhatTheProcessorDoesNotKnowIsNoFinding(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	require.Equal(t, processing, h.charge(t, "order-1", "pm_card_drop_before", 1000).GetState())
	require.Empty(t, h.reconcile(t))
}

func TestWhatARestoreHasLostIsMissingHereUntilItsClientComesBack(t *testing.T) {
	t.Parallel()
	h := start(t)
	key := idempotency.NewKey().String()
	request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(1000), PaymentMethod: "pm_card_ok"}
	first, err := h.client.ChargePayment(withKey(t, key), request)
	require.NoError(t, err)
	id := first.GetPayment().GetId()
	h.forget(t, id)

	f := only(t, h.reconcile(t))
	require.Equal(t, MissingHere, f.Kind)
	require.Equal(t, FindingOpen, f.State)
	require.Equal(t, id, f.Payment)
	require.Equal(t, Charge, f.Operation)
	require.Equal(t, int64(1000), *f.TheirAmount)
	require.Empty(t, f.Ours)
	again := only(t, h.reconcile(t))
	require.Equal(t, f.Number, again.Number, "it is the same finding")
	require.Greater(t, again.LastRun, again.FirstRun)

	second, err := h.client.ChargePayment(withKey(t, key), request)
	require.NoError(t, err)
	require.Equal(t, id, second.GetPayment().GetId())
	require.Equal(t, captured, second.GetPayment().GetState())
	h.agrees(t, id) // one charge
	require.Equal(t, FindingResolved, only(t, h.reconcile(t)).State)
	require.Empty(t, h.reconcile(t))
}

func TestAnOperationWithoutItsEntryIsMissingHere(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	stored, err := h.api.store.get(t.Context(), "acme", uuid.MustParse(p.GetId()))
	require.NoError(t, err)
	// Somebody gives the money back at the processor.
	_, err = h.api.operations.processor.Refund(t.Context(), "by-hand", stored.ProcessorID, euros(300))
	require.NoError(t, err)
	f := only(t, h.reconcile(t))
	require.Equal(t, MissingHere, f.Kind)
	require.Equal(t, Refund, f.Operation)
	require.Equal(t, "acme", f.Tenant)
	require.Equal(t, "captured", f.Ours)
	require.Zero(t, minor(h.get(t, p.GetId()).GetRefunded()), "nothing was written: nobody of ours asked for it")
}

func TestWhatTheProcessorHasLostIsMissingThere(t *testing.T) {
	t.Parallel()
	h := start(t)
	charged := h.charge(t, "order-1", "pm_card_ok", 1000)
	held := h.authorize(t, "order-2", "pm_card_ok", 700)
	ledger := filepath.Join(h.sandbox.dir, "ledger.db")
	copyFile(t, ledger, ledger+".kept")
	h.sandbox.without(t, charged.GetId())
	h.sandbox.without(t, held.GetId())

	found := h.reconcile(t)
	require.Len(t, found, 2)
	for i, want := range []struct {
		payment   string
		operation Kind
		amount    int64
	}{{charged.GetId(), Capture, 1000}, {held.GetId(), Authorize, 700}} {
		require.Equal(t, MissingThere, found[i].Kind)
		require.Equal(t, want.payment, found[i].Payment)
		require.Equal(t, want.operation, found[i].Operation)
		require.Equal(t, want.amount, *found[i].OurAmount)
		require.Equal(t, unknownThere, found[i].Theirs)
	}
	require.Zero(t, h.sandbox.performed(t, Charge), "nothing was sent again")
	require.Zero(t, h.sandbox.performed(t, Authorize))

	h.sandbox.kill()
	copyFile(t, ledger+".kept", ledger)
	h.sandbox.restart(t)
	for _, f := range h.reconcile(t) {
		require.Equal(t, FindingResolved, f.State, "%+v", f)
	}
}

func TestAnotherAmountIsAMismatch(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	held := h.authorize(t, "order-2", "pm_card_ok", 700)
	for _, id := range []string{p.GetId(), held.GetId()} {
		h.sandbox.edit(t, id, func(o map[string]any) map[string]any {
			o["amount"] = o["amount"].(float64) + 1
			return o
		})
	}
	found := h.reconcile(t)
	require.Len(t, found, 2)
	require.Equal(t, AmountMismatch, found[0].Kind)
	require.Equal(t, int64(1000), *found[0].OurAmount)
	require.Equal(t, int64(1001), *found[0].TheirAmount)
	require.Equal(t, AmountMismatch, found[1].Kind)
	require.Equal(t, int64(701), *found[1].TheirAmount)
}

// The request was on its way for longer than the processor remembers keys: we
// gave it up, and then it arrived.
func TestAChargeThatArrivesAfterItWasGivenUpIsAStateMismatch(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	h.sandbox.kill()
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	h.exec(t, `UPDATE payments SET open_since = open_since - interval '2 hours'`)
	h.sandbox.restart(t)
	h.complete(t)
	h.becomes(t, p.GetId(), failed)
	request := ChargeRequest{Payment: p.GetId(), Description: "order-1", PaymentMethod: "pm_card_ok", Amount: euros(1000)}
	_, err := h.api.operations.processor.Charge(t.Context(), "late", request)
	require.NoError(t, err)

	f := only(t, h.reconcile(t))
	require.Equal(t, StateMismatch, f.Kind)
	require.Equal(t, "failed", f.Ours)
	require.Equal(t, "done", f.Theirs)
	require.Equal(t, failed, h.get(t, p.GetId()).GetState())

	// Whoever reads the report gives it back at the processor.
	_, err = h.api.operations.processor.Refund(t.Context(), "by-hand", f.ProcessorID, euros(1000))
	require.NoError(t, err)
	require.Equal(t, FindingResolved, only(t, h.reconcile(t)).State)
	require.Empty(t, h.reconcile(t))
}

func TestADuplicateAtTheProcessorIsRaisedUntilItIsGivenBack(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.throughADoubler(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	require.Equal(t, 2, h.sandbox.total(t, p.GetId()).Opened)

	f := only(t, h.reconcile(t))
	require.Equal(t, DuplicateAtProcessor, f.Kind)
	require.Equal(t, p.GetId(), f.Payment)
	direct := straightTo(t, h.sandbox)
	_, err := direct.Refund(t.Context(), "by-hand-1", f.ProcessorID, euros(400))
	require.NoError(t, err)
	require.Equal(t, FindingOpen, only(t, h.reconcile(t)).State, "a part of it is still taken")
	_, err = direct.Refund(t.Context(), "by-hand-2", f.ProcessorID, euros(600))
	require.NoError(t, err)
	resolved := only(t, h.reconcile(t))
	require.Equal(t, f.Number, resolved.Number)
	require.Equal(t, FindingResolved, resolved.State)
	require.Empty(t, h.reconcile(t), "the same records are not found a second time")
	require.Equal(t, int64(1000), h.sandbox.total(t, p.GetId()).NetCaptured)
}

func TestAnAuthorizationThatNobodyWillCaptureIsRaisedUntilItIsReleased(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.throughADoubler(t)
	p := h.authorize(t, "order-1", "pm_card_ok", 1000)
	f := only(t, h.reconcile(t))
	require.Equal(t, OrphanAuthorization, f.Kind)
	require.Equal(t, p.GetId(), f.Payment)
	_, err := straightTo(t, h.sandbox).Void(t.Context(), "by-hand", f.ProcessorID)
	require.NoError(t, err)
	require.Equal(t, FindingResolved, only(t, h.reconcile(t)).State)
	require.Empty(t, h.reconcile(t))
}

func TestOnePaymentReleasedOnlyThereIsAStateMismatch(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.authorize(t, "order-1", "pm_card_ok", 1000)
	stored, err := h.api.store.get(t.Context(), "acme", uuid.MustParse(p.GetId()))
	require.NoError(t, err)
	_, err = h.api.operations.processor.Void(t.Context(), "by-hand", stored.ProcessorID)
	require.NoError(t, err)
	f := only(t, h.reconcile(t))
	require.Equal(t, StateMismatch, f.Kind)
	require.Equal(t, "authorized", f.Ours)
	require.Equal(t, Void, f.Operation)
}

// A person may close what no comparison can see settled, and it stays closed.
func TestWhatAPersonHasSettledIsNotFoundAgain(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.forget(t, h.charge(t, "order-1", "pm_card_ok", 1000).GetId())
	r := h.reconciler(t, soon())
	f := only(t, h.reconcileWith(t, r))
	closed, err := r.runs.acknowledge(t.Context(), f.Number, "given back by hand")
	require.NoError(t, err)
	require.Equal(t, FindingResolved, closed.State)
	require.Empty(t, h.reconcileWith(t, r))
	_, err = r.runs.acknowledge(t.Context(), 999, "no such finding")
	require.ErrorIs(t, err, errNoFinding)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}
