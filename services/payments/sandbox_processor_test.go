package payments

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sandboxProcessor(t *testing.T, s *sandboxProcess) *SandboxProcessor {
	t.Helper()
	p, err := NewSandboxProcessor(s.url, patience, time.Hour, nil)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func card(token string) ChargeRequest {
	return ChargeRequest{Payment: "payment-1", Description: "order-1", PaymentMethod: token, Amount: euros(1000)}
}

func TestAnAnswerIsDefiniteOrAnError(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := sandboxProcessor(t, s)
	for token, want := range map[string]Verdict{
		"pm_card_ok":                   Done,
		"pm_card_duplicate":            Done,
		"pm_card_declined":             Refused,
		"pm_card_drop_before":          "",
		"pm_card_drop_after":           "",
		"pm_card_reset_after":          "",
		"pm_card_timeout_after_charge": "",
		"pm_card_500":                  "",
		"pm_card_503":                  "",
		"pm_card_rate_limited":         "",
		"pm_card_settles_later":        "",
	} {
		outcome, err := p.Charge(t.Context(), "key-"+token, card(token))
		require.Equal(t, want, outcome.Verdict, token)
		require.Equal(t, want == "", err != nil, "%s: %v", token, err)
	}
}

func TestARefusedOperationIsDefinite(t *testing.T) {
	t.Parallel()
	p := sandboxProcessor(t, startSandbox(t))
	charged, err := p.Charge(t.Context(), "k1", card("pm_card_ok"))
	require.NoError(t, err)
	for code, ask := range map[string]func() (Outcome, error){
		"wrong_state": func() (Outcome, error) { return p.Void(t.Context(), "k2", charged.ProcessorID) },
		"not_found":   func() (Outcome, error) { return p.Capture(t.Context(), "k3", "ch_none", euros(1)) },
		"amount_too_large": func() (Outcome, error) {
			return p.Refund(t.Context(), "k4", charged.ProcessorID, euros(1001))
		},
	} {
		outcome, err := ask()
		require.NoError(t, err)
		require.Equal(t, Outcome{Verdict: Refused, DeclineCode: code}, outcome)
	}
}

func TestAReusedKeyIsNotARefusal(t *testing.T) {
	t.Parallel()
	p := sandboxProcessor(t, startSandbox(t))
	_, err := p.Charge(t.Context(), "k1", card("pm_card_ok"))
	require.NoError(t, err)
	other := card("pm_card_ok")
	other.Amount = euros(1)
	_, err = p.Charge(t.Context(), "k1", other)
	require.Error(t, err, "the key did do something: calling that a decline would hide a charge")
}

func TestLookupFindsWhatTheAnswerWithheld(t *testing.T) {
	t.Parallel()
	p := sandboxProcessor(t, startSandbox(t))
	_, err := p.Lookup(t.Context(), "k1", LookupRequest{Kind: Charge})
	require.ErrorIs(t, err, ErrUnknownKey)
	_, err = p.Charge(t.Context(), "k1", card("pm_card_drop_after"))
	require.Error(t, err)
	found, err := p.Lookup(t.Context(), "k1", LookupRequest{Kind: Charge})
	require.NoError(t, err)
	require.Equal(t, Done, found.Verdict)
	require.NotEmpty(t, found.ProcessorID)
}

// net/http repeats a request with an Idempotency-Key by itself when a kept
// connection breaks. One call must be one send: repeating is the completer's.
func TestOneCallIsOneSendAlsoOnAKeptConnection(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := sandboxProcessor(t, s)
	_, err := p.Charge(t.Context(), "k1", card("pm_card_ok")) // leaves a connection to reuse
	require.NoError(t, err)
	s.script(t, `{"rules":[{"kind":"drop","when":"before"}]}`)
	_, err = p.Charge(t.Context(), "k2", card("pm_card_ok"))
	require.Error(t, err)
	response, err := http.Get(s.url + "/faults")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `"struck":1`)
}

func TestAWrongURLIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "sandbox:8080", "ftp://sandbox", "http://"} {
		_, err := NewSandboxProcessor(url, time.Second, time.Hour, nil)
		require.ErrorContains(t, err, "HOLDFAST_SANDBOX_URL", url)
	}
}

func TestRecordsAreWhatTheProcessorDid(t *testing.T) {
	t.Parallel()
	p := sandboxProcessor(t, startSandbox(t))
	began := time.Now().Add(-time.Minute)
	charged, err := p.Charge(t.Context(), "k1", card("pm_card_ok"))
	require.NoError(t, err)
	_, err = p.Refund(t.Context(), "k2", charged.ProcessorID, euros(400))
	require.NoError(t, err)
	_, err = p.Charge(t.Context(), "k3", card("pm_card_declined"))
	require.NoError(t, err)
	_, err = p.Charge(t.Context(), "k4", card("pm_card_settles_later"))
	require.Error(t, err)

	records, next, err := p.Records(t.Context(), began, time.Now().Add(time.Minute), "")
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, records, 4)
	for i := range records {
		require.WithinDuration(t, time.Now(), records[i].Time, time.Minute)
		records[i].Time = time.Time{}
	}
	require.Equal(t, Record{Key: "k1", ProcessorID: charged.ProcessorID, Payment: "payment-1", Kind: Charge, Verdict: Done, Amount: euros(1000)}, records[0])
	require.Equal(t, Record{Key: "k2", ProcessorID: charged.ProcessorID, Payment: "payment-1", Kind: Refund, Verdict: Done, Amount: euros(400)}, records[1])
	require.Equal(t, Refused, records[2].Verdict)
	require.Equal(t, "card_declined", records[2].DeclineCode)
	require.Empty(t, records[3].Verdict, "not finished")

	none, _, err := p.Records(t.Context(), began.Add(-time.Hour), began, "")
	require.NoError(t, err)
	require.Empty(t, none)
}
