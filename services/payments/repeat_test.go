package payments

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/services/payments/stripetest"
)

// TestADependencyRepeatsQuestionsAndNoOperation: our retries are on for what does
// no harm; whether an operation is sent again is the completer's to decide.
func TestADependencyRepeatsQuestionsAndNoOperation(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(*testing.T, *resilience.Dependency) (Processor, *line, string){
		"sandbox": func(t *testing.T, d *resilience.Dependency) (Processor, *line, string) {
			l := startLine(t, startSandbox(t).url)
			p, err := NewSandboxProcessor(l.url, 5*time.Second, time.Hour, d)
			require.NoError(t, err)
			t.Cleanup(p.Close)
			return p, l, "pm_card_ok"
		},
		"stripe": func(t *testing.T, d *resilience.Dependency) (Processor, *line, string) {
			l := startLine(t, stripetest.Start(t).URL)
			p, err := NewStripeProcessor(StripeConfig{URL: l.url, Key: stripetest.Key, Horizon: time.Hour}, 5*time.Second, d)
			require.NoError(t, err)
			t.Cleanup(p.Close)
			return p, l, visa
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := resilience.NewRegistry(slog.New(slog.DiscardHandler))
			t.Cleanup(func() { require.NoError(t, registry.Close()) })
			cfg := resilience.Defaults()
			cfg.RetryRatio, cfg.Backoff = 1, time.Millisecond
			dependency, err := registry.Add("processor", cfg, nil)
			require.NoError(t, err)
			p, l, token := connect(t, dependency)
			for _, d := range disturbances {
				switch d.name {
				case "a 503 before", "a 502 of somebody between", "too many requests":
				default:
					continue
				}
				require.Equal(t, 1, l.disturb(http.MethodPost, d, func() {
					_, err := p.Charge(t.Context(), freshKey(), stripeCard(token, euros(1000)))
					require.Error(t, err, d.name)
				}), d.name)
				require.Equal(t, cfg.MaxAttempts, l.disturb(http.MethodGet, d, func() {
					_, err := p.Lookup(t.Context(), freshKey(), LookupRequest{Kind: Void, ProcessorID: "pi_none"})
					require.Error(t, err, d.name)
				}), d.name)
			}
		})
	}
}
