//go:build e2e

package rightsizing

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/resources"
)

// garbage is what cmd/pressure tells of the garbage it made.
type garbage struct {
	GoMemLimit int64 `json:"gomemlimit"`
	Made       int64 `json:"garbage_bytes"`
}

const limitOfGarbage = 256 << 20 // of the manifests

func TestGarbageIsCollectedBeforeTheLimitIsReached(t *testing.T) {
	start(t, "garbage-collected")
	g, c := result[garbage](t, "garbage-collected")
	require.Zero(t, c.RestartCount, "it was never killed")
	require.Equal(t, int64(limitOfGarbage-limitOfGarbage/10), g.GoMemLimit)
	require.Equal(t, int64(4<<30), g.Made)
}

// TestWithoutGOMEMLIMITTheKernelKillsOverGarbage is the control: the same
// program in the same container.
func TestWithoutGOMEMLIMITTheKernelKillsOverGarbage(t *testing.T) {
	start(t, "garbage-killed")
	c := await(t, "garbage-killed", "it is killed and started again", func(c container) bool {
		return c.RestartCount > 0 && c.Last.Reason != ""
	})
	require.Equal(t, "OOMKilled", c.Last.Reason)
	require.Equal(t, 137, c.Last.ExitCode)
	t.Logf("garbage-killed: %s, exit code %d, %d restarts", c.Last.Reason, c.Last.ExitCode, c.RestartCount)
}

// answered is what cmd/pressure tells of the requests it answered.
type answered struct {
	Requests         int64
	P50              float64 `json:"p50_seconds"`
	P99              float64 `json:"p99_seconds"`
	Periods          int64   `json:"nr_periods"`
	Throttled        int64   `json:"nr_throttled"`
	ThrottledSeconds float64 `json:"throttled_seconds"`
}

func TestARequestWithoutALimitIsNeverThrottled(t *testing.T) {
	t.Parallel() // beside its control, so that the node is as busy for both
	start(t, "cpu-requested")
	a, _ := result[answered](t, "cpu-requested")
	require.Positive(t, a.Requests)
	require.Zero(t, a.Throttled)
}

// TestACPULimitThrottlesWorkThatStaysBelowItOnAverage is the control: the same
// bursts under a limit that is more than they take on average.
func TestACPULimitThrottlesWorkThatStaysBelowItOnAverage(t *testing.T) {
	t.Parallel()
	start(t, "cpu-limited")
	a, _ := result[answered](t, "cpu-limited")
	require.Positive(t, a.Periods, "the limit is enforced here")
	require.Positive(t, a.Throttled)
	require.Positive(t, a.ThrottledSeconds)
	// A burst is 40 ms of CPU and a period has 25: it stands still until the next
	// one begins, 100 ms after the last, whatever else the machine does.
	require.Greater(t, a.P50, 0.050)
}

func TestAProcessFollowsThatItsPodIsResizedInPlace(t *testing.T) {
	start(t, "resized")
	await(t, "resized", "it runs with its limit", func(c container) bool { return c.Resources.Limits["memory"] == "64Mi" })
	must(t, "patch", "pod", "resized", "--subresource", "resize", "--patch",
		`{"spec":{"containers":[{"name":"pressure","resources":{"requests":{"memory":"128Mi"},"limits":{"memory":"128Mi"}}}]}}`)
	r, c := result[struct{ Before, After resources.Report }](t, "resized")
	require.Zero(t, c.RestartCount, "it was not started again for it")
	require.Equal(t, int64(64<<20), r.Before.MemoryLimit)
	require.Equal(t, int64(128<<20), r.After.MemoryLimit)
	require.Equal(t, int64(128<<20-(128<<20)/10), r.After.GoMemLimit)
}
