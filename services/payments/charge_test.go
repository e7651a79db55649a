package payments

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func TestAChargeTakesTheMoneyOnce(t *testing.T) {
	t.Parallel()
	h := start(t)
	key := idempotency.NewKey().String()
	request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(4890), PaymentMethod: "pm_card_ok"}
	first, err := h.client.ChargePayment(withKey(t, key), request)
	require.NoError(t, err)
	p := first.GetPayment()
	require.Equal(t, captured, p.GetState())
	require.Equal(t, int64(4890), minor(p.GetCaptured()))
	require.Zero(t, minor(p.GetRefunded()))
	require.Equal(t, "order-1", p.GetReference())

	again, err := h.client.ChargePayment(withKey(t, key), request)
	require.NoError(t, err)
	require.True(t, proto.Equal(first, again))
	require.True(t, proto.Equal(p, h.get(t, p.GetId())), "a read agrees with the answer")
	h.agrees(t, p.GetId())
}

func TestADeclineIsAnAnswerAndNotAnError(t *testing.T) {
	t.Parallel()
	h := start(t)
	for card, code := range map[string]string{
		"pm_card_declined":           "card_declined",
		"pm_card_insufficient_funds": "insufficient_funds",
		"pm_no_such_card":            "unknown_payment_method",
	} {
		p := h.charge(t, "order-1", card, 100) // one reference: what was declined does not occupy it
		require.Equal(t, declined, p.GetState())
		require.Equal(t, code, p.GetDeclineCode())
		h.agrees(t, p.GetId())
	}
	require.Equal(t, declined, h.authorize(t, "order-1", "pm_card_declined", 100).GetState())
}

func TestAReferenceHasOneLivePayment(t *testing.T) {
	t.Parallel()
	h := start(t)
	first := h.charge(t, "order-1", "pm_card_ok", 100)
	_, err := h.client.ChargePayment(keyed(t), &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(100), PaymentMethod: "pm_card_ok"})
	requireReason(t, apierror.ReasonAlreadyExists, err)
	_, err = h.client.AuthorizePayment(keyed(t), &paymentsv1.AuthorizePaymentRequest{Reference: "order-1", Amount: eur(100), PaymentMethod: "pm_card_ok"})
	requireReason(t, apierror.ReasonAlreadyExists, err)
	h.agrees(t, first.GetId())
	require.Equal(t, int64(1), h.number(t, `SELECT count(*) FROM payments`))
	require.Equal(t, int64(1), h.number(t, `SELECT count(*) FROM idempotency_keys`), "a refusal spends no key")

	theirs, err := h.other.ChargePayment(keyed(t), &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(100), PaymentMethod: "pm_card_ok"})
	require.NoError(t, err, "another tenant's references are its own")
	require.Equal(t, captured, theirs.GetPayment().GetState())
}

func TestAmountsThatCannotBeTakenAreRefusedByField(t *testing.T) {
	t.Parallel()
	h := start(t)
	half := eur(100)
	half.Nanos = 5_000_000
	dinar := eur(100)
	dinar.CurrencyCode = "XXX"
	huge := eur(0)
	huge.Units = 1 << 62
	mixed := eur(100)
	mixed.Nanos = -10_000_000
	for name, test := range map[string]*paymentsv1.ChargePaymentRequest{
		"zero":                 {Reference: "r", Amount: eur(0), PaymentMethod: "pm_card_ok"},
		"negative":             {Reference: "r", Amount: eur(-100), PaymentMethod: "pm_card_ok"},
		"half a cent":          {Reference: "r", Amount: half, PaymentMethod: "pm_card_ok"},
		"unsupported currency": {Reference: "r", Amount: dinar, PaymentMethod: "pm_card_ok"},
		"beyond int64":         {Reference: "r", Amount: huge, PaymentMethod: "pm_card_ok"},
		"mixed signs":          {Reference: "r", Amount: mixed, PaymentMethod: "pm_card_ok"},
		"no amount":            {Reference: "r", PaymentMethod: "pm_card_ok"},
		"a card number":        {Reference: "r", Amount: eur(100), PaymentMethod: "4242424242424242"},
		"no reference":         {Amount: eur(100), PaymentMethod: "pm_card_ok"},
	} {
		_, err := h.client.ChargePayment(keyed(t), test)
		requireReason(t, apierror.ReasonInvalidField, err)
		require.Error(t, err, name)
	}
	require.Zero(t, h.number(t, `SELECT count(*) FROM payments`))
}

func TestAnAuthorizationIsCapturedOrVoidedOnce(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.authorize(t, "order-1", "pm_card_ok", 1000)
	require.Equal(t, authorized, p.GetState())
	h.agrees(t, p.GetId())
	_, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonWrongState, err)
	took, err := h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: p.GetId()})
	require.NoError(t, err)
	require.Equal(t, captured, took.GetPayment().GetState())
	h.agrees(t, p.GetId())
	_, err = h.client.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonWrongState, err)
	_, err = h.client.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonWrongState, err)

	q := h.authorize(t, "order-2", "pm_card_ok", 1000)
	released, err := h.client.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: q.GetId()})
	require.NoError(t, err)
	require.Equal(t, voided, released.GetPayment().GetState())
	h.agrees(t, q.GetId())
	h.authorize(t, "order-2", "pm_card_ok", 1000) // the reference is free again
}

func TestAnotherTenantsPaymentDoesNotExist(t *testing.T) {
	t.Parallel()
	h := start(t)
	p := h.charge(t, "order-1", "pm_card_ok", 1000)
	_, err := h.other.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.other.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.other.CapturePayment(keyed(t), &paymentsv1.CapturePaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.other.VoidPayment(keyed(t), &paymentsv1.VoidPaymentRequest{Id: p.GetId()})
	requireReason(t, apierror.ReasonNotFound, err)
	listed, err := h.other.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{})
	require.NoError(t, err)
	require.Empty(t, listed.GetPayments())
	require.True(t, proto.Equal(p, h.get(t, p.GetId())))
}

func TestTwoTenantsWithOneKeyAreChargedEach(t *testing.T) {
	t.Parallel()
	h := start(t)
	request := &paymentsv1.ChargePaymentRequest{Reference: "order-1", Amount: eur(100), PaymentMethod: "pm_card_ok"}
	for _, key := range []string{idempotency.NewKey().String(), "opaque-key"} {
		request.Reference = "order-" + key
		mine, err := h.client.ChargePayment(withKey(t, key), request)
		require.NoError(t, err)
		theirs, err := h.other.ChargePayment(withKey(t, key), request)
		require.NoError(t, err)
		require.NotEqual(t, mine.GetPayment().GetId(), theirs.GetPayment().GetId())
		require.Equal(t, 1, h.sandbox.total(t, mine.GetPayment().GetId()).Opened)
		require.Equal(t, 1, h.sandbox.total(t, theirs.GetPayment().GetId()).Opened)
	}
}
