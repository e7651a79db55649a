package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testConfig(t *testing.T) Config {
	return Config{
		HTTPAddr: "127.0.0.1:0", ProbeAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		DrainCap: 5 * time.Second, DataDir: t.TempDir(), Horizon: time.Hour,
	}
}

// startServer runs a sandbox for the test and drains it at the end.
func startServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s, err := Start(ctx, cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return s
}

// client never reuses connections: what a fault does to one must not reach the
// next request.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// call sends one request; headers are name, value, …. A nil answer means the
// connection ended without one.
func call(t *testing.T, method, url, body string, headers ...string) (int, string, http.Header, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	r.GetBody = nil // net/http must not send it again
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), response.Header, err
}

const aCharge = `{"reference":"order-1","amount":500,"currency":"EUR","payment_method":"pm_card_ok"}`

func dumpOf(t *testing.T, s *Server) Dump {
	t.Helper()
	status, body, _, err := call(t, "GET", s.URL()+"/v1/ledger", "")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	var d Dump
	require.NoError(t, json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&d))
	return d
}

func TestAReplayIsTheSameBytesAndSaysSo(t *testing.T) {
	s := startServer(t, testConfig(t))
	status, first, header, err := call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", "k1")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Empty(t, header.Get("Idempotent-Replayed"))
	_, second, header, err := call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", "k1")
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Equal(t, "true", header.Get("Idempotent-Replayed"))
	require.Len(t, dumpOf(t, s).Operations, 1)
}

func TestTheWholeLifeOfAnAuthorization(t *testing.T) {
	s := startServer(t, testConfig(t))
	_, body, _, err := call(t, "POST", s.URL()+"/v1/authorizations", aCharge, "Idempotency-Key", "a")
	require.NoError(t, err)
	var o Operation
	require.NoError(t, json.Unmarshal([]byte(body), &o))
	money := `{"amount":500,"currency":"EUR"}`
	status, body, _, err := call(t, "POST", s.URL()+"/v1/authorizations/"+o.Charge+"/capture", money, "Idempotency-Key", "b")
	require.NoError(t, err)
	require.Equal(t, 200, status, body)
	status, body, _, err = call(t, "POST", s.URL()+"/v1/authorizations/"+o.Charge+"/void", "", "Idempotency-Key", "c")
	require.NoError(t, err)
	require.Equal(t, 409, status, body)
	status, body, _, err = call(t, "POST", s.URL()+"/v1/refunds", `{"charge":"`+o.Charge+`","amount":200,"currency":"EUR"}`, "Idempotency-Key", "d")
	require.NoError(t, err)
	require.Equal(t, 200, status, body)
	require.Equal(t, []Total{{Reference: "order-1", Currency: "EUR", Opened: 1, Captured: 500, Refunded: 200, NetCaptured: 300}}, dumpOf(t, s).Totals)
}

func TestFaultsByHeader(t *testing.T) {
	none := -1 // no answer at all
	for header, want := range map[string]struct {
		status  int
		effects int
	}{
		"drop; when=before":               {none, 0},
		"drop; when=after":                {none, 1},
		"reset; when=before":              {none, 0},
		"reset; when=after":               {none, 1},
		"timeout; delay=20ms":             {none, 0},
		"timeout; when=after; delay=20ms": {none, 1},
		"error":                           {500, 0},
		"error; when=after":               {500, 1},
		"unavailable":                     {503, 0},
		"rate_limit; delay=1500ms":        {429, 0},
		"slow; delay=20ms":                {200, 1},
		"duplicate":                       {200, 1},
		"decline; code=do_not_honor":      {200, 1},
		"settle_later; delay=1h":          {200, 1},
		"forget_key":                      {200, 1},
		"explode":                         {400, 0},
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, testConfig(t))
			status, body, headers, err := call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", "k1", "Sandbox-Fault", header)
			if want.status == none {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
				require.Equal(t, want.status, status, body)
			}
			if strings.HasPrefix(header, "reset") {
				require.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
			}
			if status == 429 {
				require.Equal(t, "2", headers.Get("Retry-After"))
			}
			require.Len(t, dumpOf(t, s).Operations, want.effects)
		})
	}
}

func TestAForgottenKeyChargesTwice(t *testing.T) {
	s := startServer(t, testConfig(t))
	for range 2 {
		_, _, _, err := call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", "k1", "Sandbox-Fault", "forget_key")
		require.NoError(t, err)
	}
	require.Equal(t, 2, dumpOf(t, s).Totals[0].Opened, "the negative control of every double charge test")
}

// TestACardThatDeclinesDeclinesWhateverHappensToTheRequest: a fault is about the
// request, a decline about the card.
func TestACardThatDeclinesDeclinesWhateverHappensToTheRequest(t *testing.T) {
	for _, fault := range []string{"duplicate", "settle_later; delay=1ms", "slow; delay=1ms", "reset; when=after", "forget_key"} {
		s := startServer(t, testConfig(t))
		_, _, _, _ = call(t, http.MethodPost, s.URL()+"/v1/charges",
			`{"reference":"r","amount":100,"currency":"USD","payment_method":"pm_card_declined"}`, "Idempotency-Key", "k", "Sandbox-Fault", fault)
		operations := dumpOf(t, s).Operations
		require.NotEmpty(t, operations, fault)
		for _, o := range operations {
			require.Equal(t, StatusDeclined, o.Status, fault)
			require.Equal(t, "card_declined", o.DeclineCode, fault)
		}
	}
}

func TestAScriptedOutageHitsLookupsUntilCleared(t *testing.T) {
	s := startServer(t, testConfig(t))
	status, body, _, err := call(t, "POST", s.URL()+"/faults", `{"seed":1,"rules":[{"kind":"unavailable","operations":["charge","lookup"]}]}`)
	require.NoError(t, err)
	require.Equal(t, 200, status, body)
	lookup := s.URL() + "/v1/operations?" + url.Values{"key": {"k1"}}.Encode()
	status, _, _, _ = call(t, "GET", lookup, "")
	require.Equal(t, 503, status)
	status, _, _, _ = call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", "k1")
	require.Equal(t, 503, status)
	_, body, _, err = call(t, "GET", s.URL()+"/faults", "")
	require.NoError(t, err)
	require.Contains(t, body, `"struck":2`)

	status, _, _, _ = call(t, "DELETE", s.URL()+"/faults", "")
	require.Equal(t, 204, status)
	status, body, _, _ = call(t, "GET", lookup, "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"operations":[]}`, body)
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	s := startServer(t, testConfig(t))
	long := strings.Repeat("x", 256)
	for name, test := range map[string]struct {
		body, key string
		status    int
	}{
		"no key":        {aCharge, "", 400},
		"long key":      {aCharge, long, 400},
		"no body":       {"", "k", 400},
		"not JSON":      {"{", "k", 400},
		"two values":    {aCharge + aCharge, "k", 400},
		"unknown field": {`{"card_number":"4242"}`, "k", 400},
		"float":         {strings.Replace(aCharge, "500", "5.5", 1), "k", 400},
		"too large":     {`{"reference":"` + strings.Repeat("x", maxBody) + `"}`, "k", 413},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{}
			if test.key != "" {
				headers = []string{"Idempotency-Key", test.key}
			}
			status, body, _, err := call(t, "POST", s.URL()+"/v1/charges", test.body, headers...)
			require.NoError(t, err)
			require.Equal(t, test.status, status, body)
			require.Contains(t, body, `"code"`)
		})
	}
	require.Empty(t, dumpOf(t, s).Operations)
}

func TestDrainFlipsReadinessAndNotLiveness(t *testing.T) {
	s := startServer(t, testConfig(t))
	probe := func(path string) int {
		status, _, _, err := call(t, "GET", s.ProbeURL()+path, "")
		require.NoError(t, err)
		return status
	}
	require.Equal(t, 200, probe("/readyz"))
	admin := "http://" + s.adAt.Addr().String() + "/drain"
	status, _, _, err := call(t, "POST", admin, "")
	require.NoError(t, err)
	require.Equal(t, 204, status)
	require.Equal(t, 503, probe("/readyz"))
	require.Equal(t, 200, probe("/livez"))
	_, _, _, err = call(t, "DELETE", admin, "")
	require.NoError(t, err)
	require.Equal(t, 200, probe("/readyz"))
}

func TestAHeldRequestDoesNotHoldUpTheDrain(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s, err := Start(ctx, testConfig(t), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	answered := make(chan error, 1)
	go func() {
		_, _, _, err := call(t, "POST", s.URL()+"/v1/charges", aCharge, "Idempotency-Key", "k1", "Sandbox-Fault", "timeout; when=after; delay=1h")
		answered <- err
	}()
	require.Eventually(t, func() bool { // the charge is in the ledger, so the request is being held
		o, err := s.ledger.Lookup("k1")
		return err == nil && len(o) == 1
	}, 5*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-ended, "drained within the cap")
	require.Error(t, <-answered)
}

func TestWrongConfigurationIsReportedAtOnce(t *testing.T) {
	cfg := testConfig(t)
	cfg.Horizon, cfg.AdminAddr, cfg.DataDir = 0, "0.0.0.0:8082", ""
	_, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	for _, name := range []string{"HOLDFAST_SANDBOX_HORIZON", "HOLDFAST_ADMIN_ADDR", "HOLDFAST_SANDBOX_DATA_DIR"} {
		require.ErrorContains(t, err, name)
	}
}

func TestATakenPortIsOneClearError(t *testing.T) {
	s := startServer(t, testConfig(t))
	cfg := testConfig(t)
	cfg.HTTPAddr = s.apiAt.Addr().String()
	_, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "listen for the API")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}
