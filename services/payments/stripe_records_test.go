package payments

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/payments/stripetest"
)

// TestWhatWasDoneByHandIsOnRecordWithoutAKey: whoever works in Stripe's dashboard
// moves our money too. What other systems do on the account is none of ours.
func TestWhatWasDoneByHandIsOnRecordWithoutAKey(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	r := &rig{Processor: p}
	authorized, err := p.Authorize(t.Context(), "k1", stripeCard(visa, euros(1000)))
	require.NoError(t, err)
	fake.ByHand(t, "/v1/payment_intents/"+authorized.ProcessorID+"/capture", "amount_to_capture=600")
	fake.ByHand(t, "/v1/refunds", "payment_intent="+authorized.ProcessorID+"&amount=100")
	fake.ByHand(t, "/v1/payment_intents", "amount=5000&currency=eur&payment_method=pm_card_visa&capture_method=automatic&"+
		"confirm=true&off_session=true&error_on_requires_action=true&automatic_payment_methods[enabled]=true&automatic_payment_methods[allow_redirects]=never")
	another := fake.Intents()[1].ID
	fake.ByHand(t, "/v1/refunds", "payment_intent="+another+"&amount=5000")

	records := r.records(t, time.Now().Add(-time.Minute), time.Now().Add(time.Minute))
	for i := range records {
		records[i].Time = time.Time{}
	}
	require.Equal(t, []Record{
		{Key: "k1", ProcessorID: authorized.ProcessorID, Payment: "payment-1", Kind: Authorize, Verdict: Done, Amount: euros(1000)},
		{ProcessorID: authorized.ProcessorID, Payment: "payment-1", Kind: Capture, Verdict: Done, Amount: euros(600)},
		{ProcessorID: authorized.ProcessorID, Payment: "payment-1", Kind: Refund, Verdict: Done, Amount: euros(100)},
	}, records)
}

func TestRecordsAreReadToTheLastPage(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	many(t, p, 9)
	for i, intent := range fake.Intents()[:5] {
		_, err := p.Refund(t.Context(), "refund-"+intent.ID, intent.ID, euros(int64(100+i)))
		require.NoError(t, err)
	}
	for _, size := range []int{1, 2, 3, 5, 9, 100} {
		fake.PageSize(size)
		records := (&rig{Processor: p}).records(t, time.Now().Add(-time.Minute), time.Now().Add(time.Minute))
		keys := map[string]bool{}
		for _, record := range records {
			keys[record.Key] = true
		}
		require.Len(t, records, 14, "pages of %d", size)
		require.Len(t, keys, 14, "none twice")
	}
}

func TestRecordsThatCannotBeReadAreAnError(t *testing.T) {
	t.Parallel()
	var l *line
	_, p := startStripe(t, func(fake *stripetest.Server) string {
		l = startLine(t, fake.URL)
		return l.url
	})
	for _, d := range disturbances {
		for _, cursor := range []string{"", refundsFromTheFirst} {
			l.disturb(http.MethodGet, d, func() {
				_, _, err := p.Records(t.Context(), time.Now().Add(-time.Hour), time.Now(), cursor)
				require.Error(t, err, d.name)
			})
		}
	}
}
