package service

import (
	"encoding/json"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/resources"
)

// TestAServiceIsFittedToItsContainerAndShowsIt runs a process, because the
// Go runtime reads its own variables when one begins.
func TestAServiceIsFittedToItsContainerAndShowsIt(t *testing.T) {
	c := spawn(t, "HOLDFAST_CPU_REQUEST", "1500")
	r := fittedOf(t, c)
	require.Equal(t, min(2, runtime.NumCPU()), r.GoMaxProcs)
	require.Equal(t, "HOLDFAST_CPU_REQUEST", r.GoMaxProcsFrom)
	require.Empty(t, r.Problem)
	if r.MemoryLimit > 0 {
		require.Equal(t, r.MemoryLimit-r.MemoryLimit/10, r.GoMemLimit)
		require.Contains(t, get(t, c.Probe, "/metrics").body, "holdfast_memory_limit_bytes{source=")
	} else {
		require.Zero(t, r.GoMemLimit)
	}
	require.Contains(t, get(t, c.Probe, "/metrics").body, "go_gc_gomemlimit_bytes")
	require.Contains(t, c.stderr.String(), "fitted to the container")
}

// TestWhatTheUserSetsIsObeyed is the control: the same process leaves alone
// what it would have set.
func TestWhatTheUserSetsIsObeyed(t *testing.T) {
	r := fittedOf(t, spawn(t, "HOLDFAST_CPU_REQUEST", "1500", "GOMAXPROCS", "1", "GOMEMLIMIT", "100MiB"))
	require.Equal(t, 1, r.GoMaxProcs)
	require.Equal(t, "GOMAXPROCS", r.GoMaxProcsFrom)
	require.Equal(t, int64(100<<20), r.GoMemLimit)
	require.Equal(t, "GOMEMLIMIT", r.GoMemLimitFrom)
}

func fittedOf(t *testing.T, c *child) resources.Report {
	t.Helper()
	var status struct {
		Details struct{ Resources resources.Report }
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, c.Probe, "/statusz").body), &status))
	return status.Details.Resources
}
