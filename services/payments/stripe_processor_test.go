package payments

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/services/payments/stripetest"
)

// startStripe runs Stripe's API, and a processor that talks to it.
func startStripe(t *testing.T, at func(*stripetest.Server) string) (*stripetest.Server, *StripeProcessor) {
	t.Helper()
	fake := stripetest.Start(t)
	p, err := NewStripeProcessor(StripeConfig{URL: at(fake), Key: stripetest.Key, Horizon: 23 * time.Hour}, rigPatience, nil)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return fake, p
}

func directly(fake *stripetest.Server) string { return fake.URL }

// stripeRig holds Stripe to the contract of every processor.
func stripeRig(t *testing.T) *rig {
	var l *line
	fake, p := startStripe(t, func(fake *stripetest.Server) string {
		l = startLine(t, fake.URL)
		return l.url
	})
	fake.PageSize(10)
	return &rig{
		Processor: p, line: l,
		card: "pm_card_visa", declines: "pm_card_chargeDeclinedInsufficientFunds", code: "insufficient_funds",
		done: func(_ *testing.T, kind Kind) int { return doneAtStripe(fake, kind) },
		unfinished: func(_ *testing.T, send, look func()) {
			fake.Unfinished()
			send()
			look()
			fake.Finish()
		},
		forgotten: func(_ *testing.T, send func()) {
			send()
			fake.ForgetKeys()
		},
	}
}

// doneAtStripe counts the operations of a kind that took effect.
func doneAtStripe(fake *stripetest.Server, kind Kind) int {
	n := 0
	for _, intent := range fake.Intents() {
		manual := intent.CaptureMethod == "manual"
		if map[Kind]bool{
			Authorize: manual && intent.Status != "requires_payment_method",
			Charge:    !manual && intent.Status == "succeeded",
			Capture:   manual && intent.Status == "succeeded",
			Void:      intent.Status == "canceled",
		}[kind] {
			n++
		}
	}
	for _, refund := range fake.Refunds() {
		if kind == Refund && refund.Status == "succeeded" {
			n++
		}
	}
	return n
}

func stripeCard(token string, amount money.Amount) ChargeRequest {
	return ChargeRequest{Payment: "payment-1", Description: "order-1", PaymentMethod: token, Amount: amount}
}

func TestADeclineHasAReasonThatThePayerMayRead(t *testing.T) {
	t.Parallel()
	_, p := startStripe(t, directly)
	for token, code := range map[string]string{
		"pm_card_chargeDeclined":                  "card_declined",
		"pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
		"pm_card_chargeDeclinedExpiredCard":       "expired_card",
		"pm_card_chargeDeclinedStolenCard":        "card_declined",
		"pm_card_chargeDeclinedFraudulent":        "card_declined",
		"pm_card_authenticationRequired":          "authentication_required",
	} {
		key := freshKey()
		outcome, err := p.Charge(t.Context(), key, stripeCard(token, euros(1000)))
		require.NoError(t, err, token)
		require.Equal(t, Outcome{Verdict: Refused, DeclineCode: code}, outcome, token)
		found, err := p.Lookup(t.Context(), key, LookupRequest{Kind: Charge, Since: time.Now()})
		require.NoError(t, err, token)
		require.Equal(t, outcome, found, token)
	}
}

func TestStripeCountsAsWeDo(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	for _, test := range []struct {
		amount   money.Amount
		currency string
		code     string
	}{
		{money.Amount{Currency: "EUR", Minor: 1234}, "eur", ""},
		{money.Amount{Currency: "JPY", Minor: 500}, "jpy", ""},
		{money.Amount{Currency: "KWD", Minor: 1230}, "kwd", ""},
		{money.Amount{Currency: "KWD", Minor: 1234}, "", codePrecision},
		{money.Amount{Currency: "EUR", Minor: 1}, "", "amount_too_small"},
	} {
		before := len(fake.Intents())
		outcome, err := p.Charge(t.Context(), freshKey(), stripeCard("pm_card_visa", test.amount))
		require.NoError(t, err)
		require.Equal(t, test.code, outcome.DeclineCode, "%v", test.amount)
		intents := fake.Intents()[before:]
		if test.code != "" {
			require.Empty(t, intents)
			continue
		}
		require.Equal(t, test.amount.Minor, intents[0].Amount)
		require.Equal(t, test.currency, intents[0].Currency)
	}
	charged := fake.Intents()[2].ID
	for _, ask := range []func() (Outcome, error){
		func() (Outcome, error) {
			return p.Refund(t.Context(), freshKey(), charged, money.Amount{Currency: "KWD", Minor: 1})
		},
		func() (Outcome, error) {
			return p.Capture(t.Context(), freshKey(), charged, money.Amount{Currency: "KWD", Minor: 1})
		},
	} {
		outcome, err := ask()
		require.NoError(t, err)
		require.Equal(t, Outcome{Verdict: Refused, DeclineCode: codePrecision}, outcome)
	}
}

func TestWhatWeSendCarriesOurNames(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	authorized, err := p.Authorize(t.Context(), "k1", stripeCard("pm_card_visa", euros(1000)))
	require.NoError(t, err)
	_, err = p.Capture(t.Context(), "k2", authorized.ProcessorID, euros(600))
	require.NoError(t, err)
	_, err = p.Refund(t.Context(), "k3", authorized.ProcessorID, euros(100))
	require.NoError(t, err)
	intent := fake.Intents()[0]
	require.Equal(t, map[string]string{"holdfast_payment": "payment-1", "holdfast_key": "k1", "holdfast_capture_key": "k2"}, intent.Metadata)
	require.Equal(t, "order-1", intent.Description)
	require.Equal(t, int64(600), intent.AmountReceived)
	require.Equal(t, map[string]string{"holdfast_key": "k3"}, fake.Refunds()[0].Metadata)
}

// TestARefundThatFailsLaterIsRefused: pending is neither done nor refused.
func TestARefundThatFailsLaterIsRefused(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	charged, err := p.Charge(t.Context(), "k1", stripeCard("pm_card_visa", euros(1000)))
	require.NoError(t, err)
	fake.Unfinished()
	_, err = p.Refund(t.Context(), "k2", charged.ProcessorID, euros(1000))
	require.ErrorIs(t, err, errPending)
	fake.FailRefunds("lost_or_stolen_card")
	found, err := p.Lookup(t.Context(), "k2", LookupRequest{Kind: Refund, ProcessorID: charged.ProcessorID})
	require.NoError(t, err)
	require.Equal(t, Outcome{Verdict: Refused, DeclineCode: "lost_or_stolen_card"}, found)
}

// TestAStoredErrorIsOnlyFoundOutByLookingUp: Stripe repeats a 500 for its key,
// whatever happened.
func TestAStoredErrorIsOnlyFoundOutByLookingUp(t *testing.T) {
	t.Parallel()
	fake, p := startStripe(t, directly)
	fake.Fail(stripetest.ErrorAfter)
	for range 2 {
		outcome, err := p.Charge(t.Context(), "k1", stripeCard("pm_card_visa", euros(1000)))
		require.ErrorContains(t, err, "500")
		require.Zero(t, outcome)
	}
	require.Len(t, fake.Intents(), 1)
	found, err := p.Lookup(t.Context(), "k1", LookupRequest{Kind: Charge, Since: time.Now()})
	require.NoError(t, err)
	require.Equal(t, Outcome{Verdict: Done, ProcessorID: fake.Intents()[0].ID}, found)
}

// TestNothingThatPassesThroughUsIsToldToALog: the SDK's errors hold the answer,
// with what only the payer may know, and requests carry our key.
func TestNothingThatPassesThroughUsIsToldToALog(t *testing.T) {
	t.Parallel()
	r := stripeRig(t)
	authorized := r.do(t, r.prepare(t, Authorize))
	for _, d := range append(disturbances, disturbance{"the answer of another", true, status(http.StatusBadRequest,
		`{"error":{"type":"api_error","code":"x","payment_intent":{"id":"pi_1","client_secret":"pi_1_secret_x"}}}`)}) {
		for _, o := range []operation{r.prepare(t, Charge), r.follow(t, Capture, authorized, euros(1))} {
			r.line.disturb(http.MethodPost, d, func() {
				_, err := o.send(t.Context())
				require.Error(t, err, d.name)
				require.NotContains(t, err.Error(), "_secret_", d.name)
				require.NotContains(t, err.Error(), stripetest.Key, d.name)
			})
		}
	}
}

func TestAWrongKeyOrAddressIsNoDecline(t *testing.T) {
	t.Parallel()
	fake := stripetest.Start(t)
	for name, cfg := range map[string]StripeConfig{
		"key":     {URL: fake.URL, Key: "sk_test_other", Horizon: time.Hour},
		"address": {URL: fake.URL + "/somewhere", Key: stripetest.Key, Horizon: time.Hour},
	} {
		p, err := NewStripeProcessor(cfg, rigPatience, nil)
		require.NoError(t, err)
		t.Cleanup(p.Close)
		outcome, err := p.Charge(t.Context(), "k1", stripeCard("pm_card_visa", euros(1000)))
		require.Error(t, err, name)
		require.Zero(t, outcome, name)
		_, err = p.Lookup(t.Context(), "k1", LookupRequest{Kind: Void, ProcessorID: "pi_1"})
		require.Error(t, err, name)
		require.NotErrorIs(t, err, ErrUnknownKey, name)
	}
}

func TestTheStripeSettingsAreChecked(t *testing.T) {
	t.Parallel()
	good := StripeConfig{URL: "https://api.stripe.com", Key: "sk_test_x", Horizon: 23 * time.Hour}
	require.NoError(t, good.check())
	for want, spoil := range map[string]func(*StripeConfig){
		"HOLDFAST_STRIPE_URL is \"x\"":       func(c *StripeConfig) { c.URL = "x" },
		"HOLDFAST_STRIPE_URL is not https":   func(c *StripeConfig) { c.URL, c.Key = "http://stripe", "sk_live_x" },
		"HOLDFAST_STRIPE_HORIZON":            func(c *StripeConfig) { c.Horizon = 24 * time.Hour },
		"HOLDFAST_STRIPE_KEY or HOLDFAST_":   func(c *StripeConfig) { c.Key = "" },
		"HOLDFAST_STRIPE_KEY_FILE, and not ": func(c *StripeConfig) { c.KeyFile = "/x" },
	} {
		c := good
		spoil(&c)
		require.ErrorContains(t, c.check(), want)
		require.NotContains(t, c.check().Error(), "_x", "no error holds the key")
	}
}

func TestTheKeyMayComeFromAFile(t *testing.T) {
	t.Parallel()
	fake := stripetest.Start(t)
	path := filepath.Join(t.TempDir(), "key")
	_, err := NewStripeProcessor(StripeConfig{URL: fake.URL, KeyFile: path, Horizon: time.Hour}, rigPatience, nil)
	require.ErrorContains(t, err, "HOLDFAST_STRIPE_KEY_FILE")
	require.NoError(t, os.WriteFile(path, []byte(stripetest.Key+"\n"), 0o600))
	p, err := NewStripeProcessor(StripeConfig{URL: fake.URL, KeyFile: path, Horizon: time.Hour}, rigPatience, nil)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	outcome, err := p.Charge(t.Context(), "k1", stripeCard("pm_card_visa", euros(1000)))
	require.NoError(t, err)
	require.Equal(t, Done, outcome.Verdict)
}
