package payments

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func TestTheDefaultsFit(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load[Config](map[string]string{})
	require.NoError(t, err)
	require.NoError(t, cfg.fits(idempotency.DefaultConfig()))
}

func TestWrongSettingsAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := config.Load[Config](map[string]string{
		"HOLDFAST_SANDBOX_URL":       "sandbox",
		"HOLDFAST_PROCESSOR_TIMEOUT": "0s",
	})
	for _, name := range []string{"HOLDFAST_SANDBOX_URL", "HOLDFAST_PROCESSOR_TIMEOUT"} {
		require.ErrorContains(t, err, name)
	}
	_, err = config.Load[Config](map[string]string{"HOLDFAST_PROCESSOR": "cash"})
	require.ErrorContains(t, err, "HOLDFAST_PROCESSOR ")
}

func TestOnlyTheProcessorThatIsAskedForMustBeConfigured(t *testing.T) {
	t.Parallel()
	_, err := config.Load[Config](map[string]string{"HOLDFAST_PROCESSOR": "stripe"})
	require.ErrorContains(t, err, "HOLDFAST_STRIPE_KEY")
	_, err = config.Load[Config](map[string]string{
		"HOLDFAST_PROCESSOR": "stripe", "HOLDFAST_STRIPE_KEY": "sk_test_x", "HOLDFAST_SANDBOX_URL": "none",
	})
	require.NoError(t, err)
}

func TestAProcessorTimeoutThatDoesNotNestIsRefused(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load[Config](map[string]string{})
	require.NoError(t, err)
	cfg.Timeout = 3600 * time.Millisecond
	require.ErrorContains(t, cfg.fits(idempotency.DefaultConfig()), "ChargePayment")
	cfg.Timeout = 3 * time.Second
	keys := idempotency.DefaultConfig()
	keys.Lease = 6 * time.Second
	require.ErrorContains(t, cfg.fits(keys), "HOLDFAST_IDEMPOTENCY_LEASE")
}

// TestAHorizonThatALeaseCouldOutlastIsRefused: the model of the protocol shows the
// double charge (test/model, the control without a margin).
func TestAHorizonThatALeaseCouldOutlastIsRefused(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load[Config](map[string]string{})
	require.NoError(t, err)
	keys := idempotency.DefaultConfig()
	cfg.Horizon = 10*keys.Lease + time.Second
	require.NoError(t, cfg.fits(keys))
	cfg.Horizon = 10 * keys.Lease
	require.ErrorContains(t, cfg.fits(keys), "HOLDFAST_SANDBOX_HORIZON is 1m20s")
}
