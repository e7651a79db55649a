package payments

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// pages reads a whole list, calling between every two pages.
func (h *harness) pages(t *testing.T, r *paymentsv1.ListPaymentsRequest, between func(page int)) []string {
	t.Helper()
	var references []string
	for page := 0; ; page++ {
		listed, err := h.client.ListPayments(t.Context(), r)
		require.NoError(t, err)
		require.LessOrEqual(t, len(listed.GetPayments()), int(r.GetPageSize()))
		for _, p := range listed.GetPayments() {
			references = append(references, p.GetReference())
		}
		if r.PageToken = listed.GetNextPageToken(); r.GetPageToken() == "" {
			return references
		}
		between(page)
	}
}

func TestPagesNeitherRepeatNorSkipWhileOthersWrite(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	var want []string
	ids := map[string]string{}
	for i := range 7 {
		reference := fmt.Sprintf("order-%d", i)
		ids[reference] = h.charge(t, reference, "pm_card_ok", 1000).GetId()
		want = append([]string{reference}, want...)
	}
	got := h.pages(t, &paymentsv1.ListPaymentsRequest{PageSize: 2}, func(page int) {
		h.charge(t, fmt.Sprintf("new-%d", page), "pm_card_ok", 1000)
		_, err := h.client.RefundPayment(keyed(t), &paymentsv1.RefundPaymentRequest{Id: ids[fmt.Sprintf("order-%d", page)]})
		require.NoError(t, err)
	})
	require.Equal(t, want, got)
}

func TestAListIsFiltered(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	h.charge(t, "order-1", "pm_card_declined", 1000)
	h.charge(t, "order-1", "pm_card_ok", 1000)
	h.charge(t, "order-2", "pm_card_declined", 1000)
	none := func(int) {}
	require.Equal(t, []string{"order-1", "order-1"}, h.pages(t, &paymentsv1.ListPaymentsRequest{PageSize: 1, Reference: "order-1"}, none))
	require.Equal(t, []string{"order-2", "order-1"}, h.pages(t, &paymentsv1.ListPaymentsRequest{PageSize: 1, State: declined}, none))
	require.Empty(t, h.pages(t, &paymentsv1.ListPaymentsRequest{PageSize: 1, Reference: "order-2", State: captured}, none))
}

func TestAPageTokenIsOnlyGoodForItsList(t *testing.T) {
	t.Parallel()
	h := startIdle(t)
	h.charge(t, "order-1", "pm_card_ok", 1000)
	h.charge(t, "order-2", "pm_card_ok", 1000)
	listed, err := h.client.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{PageSize: 1})
	require.NoError(t, err)
	require.NotEmpty(t, listed.GetNextPageToken())
	for name, r := range map[string]*paymentsv1.ListPaymentsRequest{
		"garbage":        {PageToken: "garbage"},
		"another filter": {PageToken: listed.GetNextPageToken(), State: declined},
	} {
		_, err := h.client.ListPayments(t.Context(), r)
		requireReason(t, apierror.ReasonInvalidPageToken, err)
		require.Error(t, err, name)
	}
	_, err = h.other.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{PageToken: listed.GetNextPageToken()})
	requireReason(t, apierror.ReasonInvalidPageToken, err)
	_, err = h.client.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{PageSize: 201})
	requireReason(t, apierror.ReasonInvalidField, err)
}
