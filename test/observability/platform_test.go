package observability

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

// bound is for how long anything may take to start, to stop or to be seen.
const bound = 30 * time.Second

// platform is every service and the sandbox as processes on loopback.
type platform struct {
	at map[string]local.Addresses // by service
}

// start runs the platform on databases of its own. It ends with the test.
func start(t *testing.T) *platform {
	t.Helper()
	p := &platform{at: map[string]local.Addresses{}}
	for _, name := range local.StartOrder {
		free, err := local.FreeAddresses(t.Context())
		require.NoError(t, err)
		p.at[name] = free
	}
	databases := map[string]string{}
	for _, name := range local.Databases {
		databases[local.DatabaseName(name)] = pgtest.New(t, nil, "observability").URL
	}
	environment := local.Environment{
		DatabaseURL:       func(database string) string { return databases[database] },
		DerivationSecrets: "v1:" + strings.Repeat("0f", 32),
		SandboxURL:        "http://" + p.at[local.Sandbox].HTTP,
		SandboxDir:        t.TempDir(),
		PaymentsTarget:    "dns:///" + p.at[local.Payments].GRPC,
		Extra: map[string]string{
			"HOLDFAST_LLM_ROUTES_FILE": thrifty(t),
			"HOLDFAST_LAME_DUCK":       "0s",
			// A processor that does not answer is waited for, and a lease after it:
			// less than by default, in the same proportions.
			"HOLDFAST_PROCESSOR_TIMEOUT": "1500ms",
			"HOLDFAST_IDEMPOTENCY_BOUND": "2500ms",
			"HOLDFAST_IDEMPOTENCY_LEASE": "5500ms",
		},
	}
	for _, name := range local.StartOrder {
		variables := environment.For(name, p.at[name])
		if slices.Contains(local.Databases, name) {
			require.NoError(t, local.Migrate(name, variables))
		}
		launch(t, name, variables, p.at[name].ReadyURL())
	}
	return p
}

// launch starts one service and waits until it is ready.
func launch(t *testing.T, name string, variables []string, ready string) {
	t.Helper()
	output := &logtest.Buffer{}
	process, err := local.Start(local.Command{Name: name, Args: []string{"serve", name}, Env: variables, Output: output})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := process.Stop(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("--- %s said:\n%s", name, output)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	require.NoError(t, local.AwaitReady(ctx, ready, process), "%s: %s", name, output)
}

// post sends a request to orders and returns the status.
func (p *platform) post(ctx context.Context, key, body string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.at[local.Orders].HTTP+"/v1/orders", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	r.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, nil
}

// order is the body of an order that is paid with a card of the sandbox.
func order(card, quantity string) string {
	return `{"lines":[{"product_id":"espresso-cup","quantity":` + quantity + `}],"payment_method":"` + card + `"}`
}

// shop does what a day of a shop has. Every step leaves its trace in a metric.
func (p *platform) shop(t *testing.T) {
	t.Helper()
	first := idempotency.NewKey().String()
	fresh := func() string { return idempotency.NewKey().String() }
	at := func(when time.Duration) string { return idempotency.NewKeyAt(time.Now().Add(when)).String() }
	for _, step := range []struct {
		what, key, body string
		status          []int
	}{
		{"an order", first, order("pm_card_ok", "1"), []int{http.StatusOK}},
		{"its replay", first, order("pm_card_ok", "1"), []int{http.StatusOK}},
		{"another order under its key", first, order("pm_card_ok", "2"), []int{http.StatusUnprocessableEntity}},
		{"a card that is declined", fresh(), order("pm_card_declined", "1"), []int{http.StatusOK}},
		{"an order of less than nothing", fresh(), order("pm_card_ok", "-1"), []int{http.StatusBadRequest}},
		{"a key of last week", at(-7 * 24 * time.Hour), order("pm_card_ok", "1"), []int{http.StatusGone}},
		{"a key of tomorrow", at(24 * time.Hour), order("pm_card_ok", "1"), []int{http.StatusBadRequest}},
		// Answered before it is decided; the completer goes on.
		{"a processor that does not answer", fresh(), order("pm_card_timeout_after_charge", "1"), []int{http.StatusOK, http.StatusAccepted}},
	} {
		status, err := p.post(t.Context(), step.key, step.body)
		require.NoError(t, err, step.what)
		require.Contains(t, step.status, status, step.what)
	}
	// The same at the same time: one is worked on for a second, and the others do
	// not wait as long.
	key, statuses := fresh(), make(chan int, 3)
	for range cap(statuses) {
		go func() { // ends with its answer, which is awaited below
			status, _ := p.post(t.Context(), key, order("pm_card_slow", "1"))
			statuses <- status
		}()
	}
	require.ElementsMatch(t, []int{http.StatusOK, http.StatusConflict, http.StatusConflict}, []int{<-statuses, <-statuses, <-statuses})
}

// metrics is what one service answers to a scrape.
func (p *platform) metrics(t *testing.T, service string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.at[service].Probe+"/metrics", http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return body
}
