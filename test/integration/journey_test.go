package integration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// TestAnOrderIsPlacedPaidAndRepeatedByteForByte is the first thing that a
// newcomer tries.
func TestAnOrderIsPlacedPaidAndRepeatedByteForByte(t *testing.T) {
	t.Parallel()
	p := start(t)
	place := post("/v1/orders", order("")).with(func(r *request) { r.key = idempotency.NewKey().String() })
	response, first := p.do(t, place)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", first)
	require.Empty(t, response.Header.Get("Idempotent-Replayed"))
	var placed ordersv1.CreateOrderResponse
	require.NoError(t, protojson.Unmarshal(first, &placed))
	require.Equal(t, ordersv1.OrderState_ORDER_STATE_PAID, placed.GetOrder().GetState())

	response, again := p.do(t, place)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "true", response.Header.Get("Idempotent-Replayed"))
	require.Equal(t, string(first), string(again))

	// A caller of gRPC with the same key and the same request is the same caller.
	var trailer metadata.MD
	over, err := p.orders.CreateOrder(p.asWith(t.Context(), p.tenant, place.key), fine(), grpc.Trailer(&trailer))
	require.NoError(t, err)
	require.True(t, proto.Equal(&placed, over))
	require.Equal(t, []string{"true"}, trailer.Get(idempotency.ReplayedTrailer))

	p.requireSound(t)
}

// TestAnOrderIsUpdatedByIfMatchAndCancelled goes on with HTTP alone.
func TestAnOrderIsUpdatedByIfMatchAndCancelled(t *testing.T) {
	t.Parallel()
	p := start(t)
	created, err := p.orders.CreateOrder(p.as(t.Context(), p.tenant), fine())
	require.NoError(t, err)
	o := created.GetOrder()

	response, body := p.do(t, &request{
		method: http.MethodPatch, path: "/v1/orders/" + o.GetId(), body: `{"shipping_note":"ring twice"}`,
		header: http.Header{"If-Match": {`"` + o.GetEtag() + `"`}},
	})
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	require.Contains(t, string(body), "ring twice")

	response, body = p.do(t, post("/v1/orders/"+o.GetId()+":cancel", "{}"))
	require.Equal(t, http.StatusAccepted, response.StatusCode, "%s", body)
	p.await(t, o.GetId(), ordersv1.OrderState_ORDER_STATE_CANCELLED)
	p.requireSound(t)
}
