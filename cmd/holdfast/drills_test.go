//go:build drills

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// These drills say what happens under load, so that they want a machine of their
// own: `make drills`. Each holds, and none does without what it is about.

// brokenBy holds a drill that is sabotaged, and requires that what must hold
// breaks: that part of it.
func brokenBy(t *testing.T, name string, sabotage drill.Sabotage, part string, args ...string) {
	t.Helper()
	code, verdict := hold(t, name, append([]string{"--sabotage", string(sabotage)}, args...)...)
	require.Equal(t, 1, code)
	for _, c := range verdict.Checks {
		if strings.Contains(c.Name, part) {
			require.False(t, c.Held, "%s: %s", c.Name, c.Found)
			return
		}
	}
	require.Fail(t, "nothing is said about "+part)
}

func holds(t *testing.T, name string, args ...string) drill.Verdict {
	t.Helper()
	code, verdict := hold(t, name, args...)
	for _, c := range verdict.Checks {
		require.True(t, c.Held, "%s: %s", c.Name, c.Found)
	}
	require.Zero(t, code)
	return verdict
}

func TestABrokenNetworkLosesNothingAndDoesNothingTwice(t *testing.T) {
	verdict := holds(t, drill.PartitionName, "--duration", "15s")
	require.NotZero(t, verdict.Audit.Audited.Orders)
	require.NotZero(t, verdict.Retried)
}

func TestWithoutAKeyForTheProcessorABrokenNetworkChargesTwice(t *testing.T) {
	brokenBy(t, drill.PartitionName, drill.NewProcessorKeys, "no card charged twice", "--duration", "15s")
}

func TestASlowDependencyMakesNothingElseSlow(t *testing.T) {
	verdict := holds(t, drill.SlowName)
	require.NotZero(t, verdict.Audit.Audited.Orders)
}

func TestWithoutABulkheadASlowDependencyTakesEverythingWithIt(t *testing.T) {
	brokenBy(t, drill.SlowName, drill.NoBulkhead, "a read's p99")
}

func TestWithoutABreakerASlowDependencyIsWaitedForAgainAndAgain(t *testing.T) {
	brokenBy(t, drill.SlowName, drill.NoBreaker, "the breaker opens")
}

func TestAFloodTakesNothingFromWhatIsCritical(t *testing.T) {
	verdict := holds(t, drill.OverloadName)
	require.NotZero(t, verdict.Audit.Audited.Orders)
}

func TestWithoutSheddingAFloodTakesEverything(t *testing.T) {
	brokenBy(t, drill.OverloadName, drill.NoShedding, "critical requests go on being answered")
}
