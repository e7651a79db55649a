package ratelimit

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

// fromEnvironment reads a Config as a service does.
func fromEnvironment(t *testing.T, variables map[string]string) Config {
	t.Helper()
	cfg, err := config.Load[Config](variables)
	require.NoError(t, err)
	return cfg
}

// newLimits are limits that end with the test.
func newLimits(t *testing.T, cfg Config) *Limits {
	t.Helper()
	l, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func TestTheDefaultsAreOnAndGenerous(t *testing.T) {
	cfg := fromEnvironment(t, map[string]string{})
	for _, rate := range []float64{cfg.Address, cfg.TenantReads, cfg.TenantWrites} {
		require.GreaterOrEqual(t, rate, 1000.0, "hundreds a second from one client are normal")
	}
	require.LessOrEqual(t, cfg.FailedAuth, 5.0)
}

func TestEverythingThatIsWrongIsReportedAtOnce(t *testing.T) {
	_, err := config.Load[Config](map[string]string{
		"HOLDFAST_RATE_ADDRESS":             "-1",
		"HOLDFAST_RATE_FAILED_AUTH":         "NaN",
		"HOLDFAST_RATE_TENANT_READS":        "+Inf",
		"HOLDFAST_RATE_TENANT_WRITES_BURST": "0",
		"HOLDFAST_RATE_TRUSTED_PROXIES":     "10.0.0.0/8, 0.0.0.0/0, localhost",
		"HOLDFAST_RATE_EXEMPT":              "10.1.2.3, 10.1.2.3/8, ::ffff:10.0.0.0/104",
		"HOLDFAST_RATE_KEYS":                "0",
	})
	require.Error(t, err)
	for _, wanted := range []string{
		"HOLDFAST_RATE_ADDRESS is -1", "HOLDFAST_RATE_FAILED_AUTH is NaN", "HOLDFAST_RATE_TENANT_READS is +Inf",
		"HOLDFAST_RATE_TENANT_WRITES_BURST is 0", `HOLDFAST_RATE_TRUSTED_PROXIES: "localhost" is not a network`,
		`HOLDFAST_RATE_EXEMPT: "10.1.2.3" is not a network`, `did you mean 10.0.0.0/8?`, "written as IPv6", "HOLDFAST_RATE_KEYS is 0",
	} {
		require.ErrorContains(t, err, wanted)
	}
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 10, err)
	for _, line := range lines {
		require.Regexp(t, "^HOLDFAST_RATE_", line)
	}
	_, err = New(Config{Keys: 1, Address: math.NaN()})
	require.ErrorContains(t, err, "HOLDFAST_RATE_ADDRESS is NaN")
}

func TestTrustingEverybodyIsRefused(t *testing.T) {
	for _, everybody := range []string{"0.0.0.0/0", "::/0"} {
		_, err := config.Load[Config](map[string]string{"HOLDFAST_RATE_TRUSTED_PROXIES": everybody})
		require.ErrorContains(t, err, "every client could claim any address")
	}
	_, err := config.Load[Config](map[string]string{"HOLDFAST_RATE_EXEMPT": "0.0.0.0/0,::/0"})
	require.NoError(t, err, "limiting nobody by address is a choice")
}

func TestALimitThatIsOffNeedsNoBurst(t *testing.T) {
	require.Empty(t, newLimits(t, Config{Keys: 1}).Report().Limits)
}

func TestABadEntryIsATypedError(t *testing.T) {
	networks, err := ParseNetworks(" 10.0.0.0/8 ,, fd00::/8,")
	require.NoError(t, err)
	require.Equal(t, "10.0.0.0/8,fd00::/8", networks.String())

	_, err = ParseNetworks("10.0.0.0/8,fe80::%eth0/64")
	var bad *NetworkError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "fe80::%eth0/64", bad.Entry)
}
