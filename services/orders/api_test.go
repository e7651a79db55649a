package orders

import (
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

const (
	statePending    = ordersv1.OrderState_ORDER_STATE_PENDING_PAYMENT
	statePaid       = ordersv1.OrderState_ORDER_STATE_PAID
	stateFailed     = ordersv1.OrderState_ORDER_STATE_PAYMENT_FAILED
	stateCancelling = ordersv1.OrderState_ORDER_STATE_CANCELLING
	stateCancelled  = ordersv1.OrderState_ORDER_STATE_CANCELLED
)

func line(product string, quantity int32) *ordersv1.CreateOrderRequest_Line {
	return &ordersv1.CreateOrderRequest_Line{ProductId: product, Quantity: quantity}
}

// cups is a request that is always fine.
func cups() *ordersv1.CreateOrderRequest {
	return &ordersv1.CreateOrderRequest{
		Lines:         []*ordersv1.CreateOrderRequest_Line{line("espresso-cup", 2), line("espresso-beans", 1)},
		PaymentMethod: "pm_card_ok",
		ContactEmail:  "Ada@Example.COM",
		ShippingNote:  "ring twice",
	}
}

func requireReason(t *testing.T, want apierror.Reason, err error) {
	t.Helper()
	got, _ := apierror.ReasonOf(err)
	require.Equal(t, want, got, "%v", err)
}

// violations are the fields that an error names.
func violations(err error) map[string]string {
	fields := map[string]string{}
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields[v.GetField()] = v.GetDescription()
			}
		}
	}
	return fields
}

func TestAnOrderIsPricedByTheCatalogueAndPaid(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	require.Equal(t, statePaid, o.GetState())
	require.Equal(t, "USD", o.GetTotal().GetCurrencyCode())
	require.Equal(t, int64(48), o.GetTotal().GetUnits())
	require.Equal(t, int32(900_000_000), o.GetTotal().GetNanos())
	require.Equal(t, int64(12), o.GetLines()[0].GetUnitPrice().GetUnits())
	require.Equal(t, "Ada@example.com", o.GetContactEmail(), "a domain is the same in any case")
	require.NotEmpty(t, o.GetPaymentId())
	require.Equal(t, "v2", o.GetEtag())
	requireSame(t, o, h.get(t, o.GetId()))
	captures, _ := h.payments.counts()
	require.Equal(t, 1, captures)
}

func TestADeclineIsAnAnswerAndNotAnError(t *testing.T) {
	t.Parallel()
	h := start(t)
	request := cups()
	request.PaymentMethod = "pm_card_declined"
	o := h.create(t, request)
	require.Equal(t, stateFailed, o.GetState())
	require.Equal(t, "card_declined", o.GetDeclineCode())
	requireSame(t, o, h.get(t, o.GetId()))
}

func TestAnOrderKeepsThePricesItWasPlacedAt(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	h.exec(t, `UPDATE products SET price = price * 2`)
	requireSame(t, o, h.get(t, o.GetId()))
}

func TestARetryIsReplayedAfterTheProductIsGone(t *testing.T) {
	t.Parallel()
	h := start(t)
	ctx := keyed(t.Context())
	first, err := h.client.CreateOrder(ctx, cups())
	require.NoError(t, err)
	h.exec(t, `DELETE FROM products`)
	again, err := h.client.CreateOrder(ctx, cups())
	require.NoError(t, err)
	requireSame(t, first, again)
	_, err = h.client.CreateOrder(keyed(t.Context()), cups())
	requireReason(t, apierror.ReasonInvalidField, err)
}

func TestOrdersThatCannotBePlacedAreRefusedByLineAndLeaveNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.exec(t, `INSERT INTO products VALUES ('planet', 'A planet', 'USD', $1)`, int64(math.MaxInt64/10))
	for name, test := range map[string]struct {
		lines  []*ordersv1.CreateOrderRequest_Line
		fields []string
	}{
		"unknown products":  {[]*ordersv1.CreateOrderRequest_Line{line("tea", 1), line("espresso-cup", 1), line("milk", 1)}, []string{"lines[0].product_id", "lines[2].product_id"}},
		"mixed currencies":  {[]*ordersv1.CreateOrderRequest_Line{line("espresso-cup", 1), line("siphon-brewer", 1)}, []string{"lines[1].product_id"}},
		"line beyond int64": {[]*ordersv1.CreateOrderRequest_Line{line("planet", 11)}, []string{"lines"}},
		"sum beyond int64":  {[]*ordersv1.CreateOrderRequest_Line{line("planet", 10), line("espresso-cup", 1)}, []string{"lines"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.client.CreateOrder(keyed(t.Context()), &ordersv1.CreateOrderRequest{Lines: test.lines, PaymentMethod: "pm_card_ok"})
			requireReason(t, apierror.ReasonInvalidField, err)
			var named []string
			for field := range violations(err) {
				named = append(named, field)
			}
			require.ElementsMatch(t, test.fields, named)
		})
	}
	require.Zero(t, h.count(t, `SELECT count(*) FROM orders`))
	require.Zero(t, h.count(t, `SELECT count(*) FROM idempotency_keys`))
}

func TestAnotherTenantsOrderDoesNotExist(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())

	_, err := h.other.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: o.GetId()})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.other.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: o.GetId(), Etag: o.GetEtag(), ShippingNote: new("mine")})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.other.CancelOrder(keyed(t.Context()), &ordersv1.CancelOrderRequest{Id: o.GetId()})
	requireReason(t, apierror.ReasonNotFound, err)
	listed, err := h.other.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{})
	require.NoError(t, err)
	require.Empty(t, listed.GetOrders())

	requireSame(t, o, h.get(t, o.GetId()))
}

func TestTwoTenantsWithOneKeyHaveTwoOrders(t *testing.T) {
	t.Parallel()
	h := start(t)
	ctx := keyed(t.Context())
	mine, err := h.client.CreateOrder(ctx, cups())
	require.NoError(t, err)
	theirs, err := h.other.CreateOrder(ctx, cups())
	require.NoError(t, err)
	require.NotEqual(t, mine.GetOrder().GetId(), theirs.GetOrder().GetId())
	require.NotEqual(t, mine.GetOrder().GetPaymentId(), theirs.GetOrder().GetPaymentId())
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	h := start(t)
	id := uuid.NewString()
	_, err := h.client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: id})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: id, Etag: "v1"})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = h.client.CancelOrder(keyed(t.Context()), &ordersv1.CancelOrderRequest{Id: id})
	requireReason(t, apierror.ReasonNotFound, err)
	require.Zero(t, h.count(t, `SELECT count(*) FROM idempotency_keys`), "a refusal spends no key")
}
