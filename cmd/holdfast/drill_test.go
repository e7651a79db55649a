package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// hold holds a drill, and returns its exit code and verdict.
func hold(t *testing.T, name string, args ...string) (int, drill.Verdict) {
	t.Helper()
	command := exec.CommandContext(t.Context(), built(t), append([]string{"drill", name, "--json", "--seed", "1"}, args...)...)
	command.Stderr = t.Output()
	output, err := command.Output()
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		require.NoError(t, err)
	}
	t.Logf("%s", output)
	var verdict drill.Verdict
	require.NoError(t, json.Unmarshal(output, &verdict))
	require.Equal(t, verdict.Passed, command.ProcessState.ExitCode() == 0)
	return command.ProcessState.ExitCode(), verdict
}

// rolling holds the rolling drill at its shortest, in which every replica is
// replaced once.
func rolling(t *testing.T, args ...string) (int, drill.Verdict) {
	t.Helper()
	return hold(t, drill.RollingName, append([]string{"--duration", "1s", "--rate", "30"}, args...)...)
}

func TestReplacingEveryReplicaFailsNoRequest(t *testing.T) {
	code, verdict := rolling(t)
	require.Zero(t, code)
	require.True(t, verdict.Passed)
	require.Empty(t, verdict.Failed)
	require.Empty(t, verdict.Audit.Violations)
	require.Len(t, verdict.Drains, 6)
	require.NotZero(t, verdict.Replayed)
	require.NotZero(t, verdict.HandedOver, "a drain found somebody who follows an order")
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
