package orders

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

func TestPagesHoldEveryOrderOnceWhileOthersArePlaced(t *testing.T) {
	t.Parallel()
	h := start(t)
	var placed []string // newest first
	for range 5 {
		placed = append([]string{h.create(t, cups()).GetId()}, placed...)
	}
	// Orders of one instant need the id to be told apart.
	h.exec(t, `UPDATE orders SET create_time = (SELECT min(create_time) FROM orders) WHERE id = ANY ($1)`, placed[2:])

	var seen []string
	request := &ordersv1.ListOrdersRequest{PageSize: 2}
	for {
		page, err := h.client.ListOrders(t.Context(), request)
		require.NoError(t, err)
		for _, o := range page.GetOrders() {
			seen = append(seen, o.GetId())
		}
		if page.GetNextPageToken() == "" {
			break
		}
		require.Len(t, page.GetOrders(), 2)
		request.PageToken = page.GetNextPageToken()
		h.create(t, cups()) // newer than the cursor: on no later page
	}
	require.ElementsMatch(t, placed, seen)
	require.Equal(t, placed[:2], seen[:2])
}

func TestListIsFilteredByState(t *testing.T) {
	t.Parallel()
	h := start(t)
	paid := h.create(t, cups())
	declined := cups()
	declined.PaymentMethod = "pm_card_declined"
	failed := h.create(t, declined)

	for state, want := range map[ordersv1.OrderState][]string{
		ordersv1.OrderState_ORDER_STATE_UNSPECIFIED: {failed.GetId(), paid.GetId()},
		statePaid:      {paid.GetId()},
		stateFailed:    {failed.GetId()},
		stateCancelled: nil,
	} {
		page, err := h.client.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{State: state})
		require.NoError(t, err)
		var got []string
		for _, o := range page.GetOrders() {
			got = append(got, o.GetId())
		}
		require.Equal(t, want, got, state)
		require.Empty(t, page.GetNextPageToken())
	}
}

func TestAPageTokenServesTheListItWasMadeForOnly(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.create(t, cups())
	h.create(t, cups())
	page, err := h.client.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{PageSize: 1, State: statePaid})
	require.NoError(t, err)
	token := page.GetNextPageToken()
	require.NotEmpty(t, token)

	_, err = h.client.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{PageToken: token})
	requireReason(t, apierror.ReasonInvalidPageToken, err)
	_, err = h.other.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{PageToken: token, State: statePaid})
	requireReason(t, apierror.ReasonInvalidPageToken, err)
	_, err = h.client.ListProducts(t.Context(), &ordersv1.ListProductsRequest{PageToken: token})
	requireReason(t, apierror.ReasonInvalidPageToken, err)
	_, err = h.client.ListOrders(t.Context(), &ordersv1.ListOrdersRequest{PageToken: "bm9uc2Vuc2U"})
	requireReason(t, apierror.ReasonInvalidPageToken, err)
}

func TestTheCatalogueIsListedById(t *testing.T) {
	t.Parallel()
	h := start(t)
	whole, err := h.client.ListProducts(t.Context(), &ordersv1.ListProductsRequest{})
	require.NoError(t, err)
	require.Len(t, whole.GetProducts(), 10)
	require.IsIncreasing(t, ids(whole.GetProducts()))

	var paged []*ordersv1.Product
	request := &ordersv1.ListProductsRequest{PageSize: 3}
	for {
		page, err := h.client.ListProducts(t.Context(), request)
		require.NoError(t, err)
		paged = append(paged, page.GetProducts()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	require.Equal(t, ids(whole.GetProducts()), ids(paged))
}

func ids(products []*ordersv1.Product) []string {
	var ids []string
	for _, p := range products {
		ids = append(ids, p.GetId())
	}
	return ids
}
