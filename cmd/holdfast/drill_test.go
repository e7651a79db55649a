package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// rolling runs the rolling drill at its shortest, in which every replica is
// replaced once, and returns its exit code and verdict.
func rolling(t *testing.T, args ...string) (int, drill.Verdict) {
	t.Helper()
	command := exec.CommandContext(t.Context(), built(t),
		append([]string{"drill", "rolling", "--json", "--duration", "1s", "--rate", "30", "--seed", "1"}, args...)...)
	command.Stderr = t.Output()
	output, err := command.Output()
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		require.NoError(t, err)
	}
	t.Logf("%s", output)
	var verdict drill.Verdict
	require.NoError(t, json.Unmarshal(output, &verdict))
	return command.ProcessState.ExitCode(), verdict
}

func TestReplacingEveryReplicaFailsNoRequest(t *testing.T) {
	code, verdict := rolling(t)
	require.Zero(t, code)
	require.True(t, verdict.Passed)
	require.Empty(t, verdict.Failed)
	require.Empty(t, verdict.Audit.Violations)
	require.Len(t, verdict.Drains, 6)
	require.NotZero(t, verdict.Replayed)
}

// The controls: what keeps requests from failing is taken away, and they fail.

func TestWithoutADrainRequestsFail(t *testing.T) {
	t.Parallel()
	code, verdict := rolling(t, "--sabotage", "no-drain")
	require.Equal(t, 1, code)
	require.False(t, verdict.Passed)
	require.NotEmpty(t, verdict.Failed)
}

func TestWithoutAReadinessFlipRequestsFail(t *testing.T) {
	t.Parallel()
	code, verdict := rolling(t, "--sabotage", "no-readiness-flip")
	require.Equal(t, 1, code)
	require.False(t, verdict.Passed)
	require.NotEmpty(t, verdict.Failed)
}
