package orders

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// TestWhilePaymentsIsDownOrdersAreAcceptedAndFinishedLater is the promise of a
// sealed answer: what was told to the client stays, and the order moves on.
func TestWhilePaymentsIsDownOrdersAreAcceptedAndFinishedLater(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.payments.set(fakeFaults{down: true})
	ctx := keyed(t.Context())
	first, err := h.client.CreateOrder(ctx, cups())
	require.NoError(t, err)
	require.Equal(t, statePending, first.GetOrder().GetState())
	id := first.GetOrder().GetId()

	again, err := h.client.CreateOrder(ctx, cups())
	require.NoError(t, err)
	requireSame(t, first, again)
	eventually(t, "the completer tries", func() bool { return h.payments.charges() >= 3 })
	require.Equal(t, statePending, h.get(t, id).GetState(), "unknown is not failed")

	h.payments.set(fakeFaults{})
	h.awaitState(t, id, statePaid)
	again, err = h.client.CreateOrder(ctx, cups())
	require.NoError(t, err)
	requireSame(t, first, again)
	captures, _ := h.payments.counts()
	require.Equal(t, 1, captures)
	h.requireNothingOpen(t)
}

func TestAChargeWhoseAnswerWasLostIsNotRepeated(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.payments.set(fakeFaults{loseAnswers: true})
	o := h.create(t, cups())
	require.Equal(t, statePending, o.GetState())
	h.awaitState(t, o.GetId(), statePaid)
	captures, _ := h.payments.counts()
	require.Equal(t, 1, captures)
	h.requireNothingOpen(t)
}

func TestAnOrderFollowsItsPaymentOutOfProcessing(t *testing.T) {
	t.Parallel()
	for state, want := range map[paymentsv1.PaymentState]ordersv1.OrderState{
		paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED: statePaid,
		paymentsv1.PaymentState_PAYMENT_STATE_DECLINED: stateFailed,
		paymentsv1.PaymentState_PAYMENT_STATE_FAILED:   stateFailed,
	} {
		t.Run(state.String(), func(t *testing.T) {
			t.Parallel()
			h := start(t)
			h.payments.set(fakeFaults{leavePending: true})
			o := h.create(t, cups())
			require.Equal(t, statePending, o.GetState())
			h.payments.settle(state)
			finished := h.awaitState(t, o.GetId(), want)
			require.NotEmpty(t, finished.GetPaymentId())
			require.Equal(t, want == stateFailed, finished.GetDeclineCode() != "")
			h.requireNothingOpen(t)
		})
	}
}

// TestAChargeKeyThatExpiredIsLookedUpAndNeverSentAgain is what is left of an
// outage longer than the retention of keys.
func TestAChargeKeyThatExpiredIsLookedUpAndNeverSentAgain(t *testing.T) {
	t.Parallel()
	t.Run("the charge happened", func(t *testing.T) {
		t.Parallel()
		h := start(t)
		h.payments.set(fakeFaults{leavePending: true})
		o := h.create(t, cups())
		h.payments.expireKeys()
		h.payments.settle(paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED)
		h.awaitState(t, o.GetId(), statePaid)
		captures, _ := h.payments.counts()
		require.Equal(t, 1, captures)
	})
	t.Run("it never happened", func(t *testing.T) {
		t.Parallel()
		h := start(t)
		h.payments.set(fakeFaults{down: true})
		o := h.create(t, cups())
		h.payments.set(fakeFaults{expired: true})
		failed := h.awaitState(t, o.GetId(), stateFailed)
		require.Equal(t, codeNeverHappened, failed.GetDeclineCode())
		require.Empty(t, failed.GetPaymentId())
		captures, _ := h.payments.counts()
		require.Zero(t, captures)
	})
}

// TestAPaymentOfAnotherAmountIsNotTheOrders guards the look-up: a tenant may
// have used the order's id as a reference of its own.
func TestAPaymentOfAnotherAmountIsNotTheOrders(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.payments.set(fakeFaults{down: true})
	o := h.create(t, cups())
	price := proto.CloneOf(o.GetTotal())
	price.Units--
	h.payments.add("acme", &paymentsv1.Payment{
		Id: uuid.NewString(), Reference: o.GetId(), Amount: price, State: paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED,
	})
	h.payments.set(fakeFaults{})
	failed := h.awaitState(t, o.GetId(), stateFailed)
	require.Equal(t, codeRefused, failed.GetDeclineCode())
}

// TestACrashBetweenTheCommitsIsFinishedByTheCompleter leaves an attempt as a
// killed process would: after the first commit, before anything was answered.
func TestACrashBetweenTheCommitsIsFinishedByTheCompleter(t *testing.T) {
	t.Parallel()
	for name, charge := range map[string]bool{"before the charge": false, "after the charge": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			key := idempotency.NewKey()
			call := idempotency.NewCall("acme", key, ordersv1.OrdersService_CreateOrder_FullMethodName, cups())
			ctx := auth.NewContext(t.Context(), auth.Principal{Tenant: "acme"})
			o, err := h.api.draft(ctx, call, cups())
			require.NoError(t, err)
			attempt, _, err := h.api.keys.BeginInsert(ctx, call, insertOrder, o.id, insertOrderArgs(o)...)
			require.NoError(t, err)
			if charge {
				_, err = h.api.finish.payments.charge(ctx, o)
				require.NoError(t, err)
			}
			attempt.Release(ctx) // in place of waiting until its lease is over

			h.awaitState(t, o.id.String(), statePaid)
			answered, err := h.client.CreateOrder(withKey(t.Context(), key.String()), cups())
			require.NoError(t, err)
			requireSame(t, h.get(t, o.id.String()), answered.GetOrder())
			captures, _ := h.payments.counts()
			require.Equal(t, 1, captures)
			require.Equal(t, 1, h.count(t, `SELECT count(*) FROM orders`))
			h.requireNothingOpen(t)
		})
	}
}

// TestAnEditWhileThePaymentIsUnderWayIsKept: the second commit is made over the
// edited order.
func TestAnEditWhileThePaymentIsUnderWayIsKept(t *testing.T) {
	t.Parallel()
	h := start(t)
	gate, reached := make(chan struct{}), make(chan struct{}, 8)
	h.payments.set(fakeFaults{gate: gate, reached: reached})
	answered := make(chan *ordersv1.Order, 1)
	go func() {
		response, err := h.client.CreateOrder(keyed(t.Context()), cups())
		if err != nil {
			t.Error(err)
		}
		answered <- response.GetOrder()
	}()
	<-reached
	pending := h.only(t)
	_, err := h.client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: pending.GetId(), Etag: pending.GetEtag(), ShippingNote: new("to the porter")})
	require.NoError(t, err)
	close(gate)
	o := <-answered
	require.Equal(t, statePaid, o.GetState())
	require.Equal(t, "to the porter", o.GetShippingNote())
	requireSame(t, o, h.get(t, o.GetId()))
}
