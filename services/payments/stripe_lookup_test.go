package payments

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/payments/stripetest"
)

// chargedAt has Stripe charge under the key so long after an operation began,
// and returns what is known of that operation now, at its age.
func chargedAt(t *testing.T, fake *stripetest.Server, p *StripeProcessor, key string, after, age time.Duration) (LookupRequest, string) {
	t.Helper()
	since := time.Now().Add(-age)
	fake.Advance(after - age)
	outcome, err := p.Charge(t.Context(), key, stripeCard("pm_card_visa", euros(1000)))
	fake.Advance(age - after)
	require.NoError(t, err)
	return LookupRequest{Kind: Charge, Amount: euros(1000), Since: since}, outcome.ProcessorID
}

// many has Stripe make n charges of other keys.
func many(t *testing.T, p *StripeProcessor, n int) {
	t.Helper()
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			for j := i; j < n; j += 4 {
				if _, err := p.Charge(t.Context(), "other-"+strconv.Itoa(j), stripeCard("pm_card_visa", euros(1000))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
}

func TestAChargeIsFoundOnWhicheverPageItIs(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	fake.SearchLags()
	request, id := chargedAt(t, fake, p, "k1", 0, 0)
	many(t, p, 6)
	fake.PageSize(2)
	found, err := p.Lookup(t.Context(), "k1", request)
	require.NoError(t, err)
	require.Equal(t, Outcome{Verdict: Done, ProcessorID: id}, found)
	_, err = p.Lookup(t.Context(), "k2", request)
	require.ErrorIs(t, err, ErrUnknownKey)
}

func TestARefundIsFoundOnWhicheverPageItIs(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	_, id := chargedAt(t, fake, p, "k1", 0, 0)
	for _, key := range []string{"r1", "r2", "r3", "r4", "r5"} {
		_, err := p.Refund(t.Context(), key, id, euros(100))
		require.NoError(t, err)
	}
	fake.PageSize(2)
	found, err := p.Lookup(t.Context(), "r1", LookupRequest{Kind: Refund, ProcessorID: id})
	require.NoError(t, err)
	require.Equal(t, Outcome{Verdict: Done, ProcessorID: id}, found)
	_, err = p.Lookup(t.Context(), "r6", LookupRequest{Kind: Refund, ProcessorID: id})
	require.ErrorIs(t, err, ErrUnknownKey)
}

// TestWhereAChargeIsLookedFor: what search knows is true, what it does not know
// says nothing, and past the horizon it is not asked for proof.
func TestWhereAChargeIsLookedFor(t *testing.T) {
	t.Parallel()
	const minutes, hours = time.Minute, time.Hour
	for name, test := range map[string]struct {
		after, age time.Duration
		search     func(*stripetest.Server)
		found      bool
	}{
		"at once":                                     {0, 0, (*stripetest.Server).SearchLags, true},
		"by a clock that is behind ours":              {-5 * time.Second, 0, (*stripetest.Server).SearchLags, true},
		"by a clock that is ahead of ours":            {5 * time.Second, 0, (*stripetest.Server).SearchLags, true},
		"some time ago":                               {0, 30 * minutes, (*stripetest.Server).SearchLags, true},
		"by a later send":                             {10 * minutes, 30 * minutes, func(*stripetest.Server) {}, true},
		"by a later send, search is behind":           {10 * minutes, 30 * minutes, (*stripetest.Server).SearchLags, false},
		"by a later send, without search":             {10 * minutes, 30 * minutes, (*stripetest.Server).NoSearch, false},
		"past the horizon":                            {0, 30 * hours, (*stripetest.Server).SearchLags, true},
		"past the horizon, by a later send":           {10 * hours, 30 * hours, (*stripetest.Server).SearchLags, true},
		"past the horizon, without search":            {22 * hours, 24 * hours, (*stripetest.Server).NoSearch, true},
		"past the horizon, by a clock far behind":     {-4 * minutes, 30 * hours, (*stripetest.Server).SearchLags, true},
		"past the horizon, with the last send of all": {23*hours + 4*minutes, 30 * hours, (*stripetest.Server).SearchLags, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, p := startStripe(t, directly)
			test.search(fake)
			request, id := chargedAt(t, fake, p, "k1", test.after, test.age)
			found, err := p.Lookup(t.Context(), "k1", request)
			if !test.found {
				require.ErrorIs(t, err, ErrUnknownKey, "it will be sent again, and Stripe knows the key")
				return
			}
			require.NoError(t, err)
			require.Equal(t, Outcome{Verdict: Done, ProcessorID: id}, found)
			_, err = p.Lookup(t.Context(), "k2", request)
			require.ErrorIs(t, err, ErrUnknownKey)
		})
	}
}

// TestAGlanceIsBoundedAndAProofIsNot: while a key may be sent again it is not
// worth reading everything.
func TestAGlanceIsBoundedAndAProofIsNot(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	p.timeout = time.Minute // this is about how much is read, not how fast
	fake.SearchLags()
	request, id := chargedAt(t, fake, p, "k1", 0, 0)
	many(t, p, glance)

	_, before := fake.Requests()
	_, err := p.Lookup(t.Context(), "k1", request)
	require.ErrorIs(t, err, ErrUnknownKey)
	_, after := fake.Requests()
	require.Equal(t, glance/pageSize+1, after-before, "so many pages, and search")

	p.now = func() time.Time { return time.Now().Add(23 * time.Hour) }
	found, err := p.Lookup(t.Context(), "k1", request)
	require.NoError(t, err)
	require.Equal(t, id, found.ProcessorID)

	p.now = time.Now
	fake.SearchCatchesUp()
	found, err = p.Lookup(t.Context(), "k1", request)
	require.NoError(t, err)
	require.Equal(t, id, found.ProcessorID)
}

func TestWhatSearchFindsIsReadAgain(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	fake.Unfinished()
	since := time.Now()
	fake.Advance(10 * time.Minute)
	_, err := p.Charge(t.Context(), "k1", stripeCard("pm_card_visa", euros(1000)))
	require.ErrorIs(t, err, errPending)
	p.now = func() time.Time { return since.Add(11 * time.Minute) }
	fake.Finish() // search still has it in processing
	found, err := p.Lookup(t.Context(), "k1", LookupRequest{Kind: Charge, Since: since})
	require.NoError(t, err)
	require.Equal(t, Done, found.Verdict)
}

// TestAProofThatIsCutShortIsNone: past the horizon a list that broke off must
// not read as "it never happened".
func TestAProofThatIsCutShortIsNone(t *testing.T) {
	t.Parallel()
	var l *line
	fake, p := startStripe(t, func(fake *stripetest.Server) string {
		l = startLine(t, fake.URL)
		return l.url
	})
	request, _ := chargedAt(t, fake, p, "k1", 10*time.Hour, 30*time.Hour)
	for _, d := range disturbances {
		l.disturb(http.MethodGet, d, func() {
			_, err := p.Lookup(t.Context(), "k1", request)
			require.Error(t, err, d.name)
			require.NotErrorIs(t, err, ErrUnknownKey, d.name)
		})
	}
}
