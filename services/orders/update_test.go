package orders

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

func TestUpdateChangesWhatItNamesAndRepeatsHarmlessly(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	request := &ordersv1.UpdateOrderRequest{Id: o.GetId(), Etag: o.GetEtag(), ContactEmail: new("  Grace@EXAMPLE.com ")}
	updated, err := h.client.UpdateOrder(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, "Grace@example.com", updated.GetOrder().GetContactEmail())
	require.Equal(t, "ring twice", updated.GetOrder().GetShippingNote(), "what is not named stays")
	require.NotEqual(t, o.GetEtag(), updated.GetOrder().GetEtag())

	again, err := h.client.UpdateOrder(t.Context(), request)
	require.NoError(t, err)
	requireSame(t, updated, again)

	cleared, err := h.client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{
		Id: o.GetId(), Etag: updated.GetOrder().GetEtag(), ContactEmail: new(""), ShippingNote: new(""),
	})
	require.NoError(t, err)
	require.Empty(t, cleared.GetOrder().GetContactEmail())
	require.Empty(t, cleared.GetOrder().GetShippingNote())
}

func TestUpdateFromAStaleEtagIsRefused(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	_, err := h.client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: o.GetId(), Etag: o.GetEtag(), ShippingNote: new("first")})
	require.NoError(t, err)
	now := h.get(t, o.GetId())
	for _, etag := range []string{o.GetEtag(), "v1", "v99", "v02", "*", `W/"v3"`, "nonsense"} {
		_, err := h.client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: o.GetId(), Etag: etag, ShippingNote: new("second")})
		requireReason(t, apierror.ReasonEtagMismatch, err)
	}
	requireSame(t, now, h.get(t, o.GetId()))
}

func TestOfManyUpdatesFromOneEtagOneWins(t *testing.T) {
	t.Parallel()
	h := start(t)
	o := h.create(t, cups())
	var (
		wins   atomic.Int32
		winner atomic.Value
		group  sync.WaitGroup
	)
	for i := range 8 {
		group.Go(func() {
			note := fmt.Sprintf("note %d", i)
			_, err := h.client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: o.GetId(), Etag: o.GetEtag(), ShippingNote: &note})
			if err == nil {
				wins.Add(1)
				winner.Store(note)
				return
			}
			if reason, _ := apierror.ReasonOf(err); reason != apierror.ReasonEtagMismatch {
				t.Errorf("refused with %v", err)
			}
		})
	}
	group.Wait()
	require.Equal(t, int32(1), wins.Load())
	require.Equal(t, winner.Load(), h.get(t, o.GetId()).GetShippingNote())
}
