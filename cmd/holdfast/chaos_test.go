//go:build faults

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// TestChaosLosesNothingAndDoesNothingTwice is `make chaos` in short, from a seed that
// does not change.
func TestChaosLosesNothingAndDoesNothingTwice(t *testing.T) {
	_, verdict := hold(t, drill.ChaosName, "--duration", "8s", "--rate", "8")
	for _, c := range verdict.Checks {
		// How soon everything is as before depends on what else the machine does.
		if c.Name != drill.LeavesNothingBehind {
			require.True(t, c.Held, "%s: %s", c.Name, c.Found)
		}
	}
	require.NotZero(t, verdict.Audit.Audited.Orders)
}
