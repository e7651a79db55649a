//go:build docker

package images

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSIGTERMReachesTheServiceWhichDrains: the binary is PID 1, so the signal
// that ends a container is its own. The sandbox stands for all, which have the
// same ENTRYPOINT (see TestAnImageIsOneBinaryThatCanDoNothingElse); it needs no
// database.
func TestSIGTERMReachesTheServiceWhichDrains(t *testing.T) {
	built(t, buildSource)
	code, said := stop(t, source("sandbox"))
	require.Equal(t, 0, code, said)
	require.Contains(t, said, `"msg":"draining"`)
	require.Contains(t, said, `"msg":"drained"`)
}

// TestBehindAShellTheSignalIsLost is the control: a shell is PID 1, passes
// nothing on, and the service is killed in the middle of whatever it does.
func TestBehindAShellTheSignalIsLost(t *testing.T) {
	built(t, buildSource, buildShellForm)
	code, said := stop(t, shellForm)
	require.Equal(t, 137, code, said) // 128 and SIGKILL
	require.NotContains(t, said, `"msg":"draining"`)
}

// stop starts the sandbox with nothing to write to but a volume, waits until it
// is healthy, and stops it as `docker stop` does: SIGTERM, and SIGKILL after 10 s.
// It returns the exit code and what was logged.
func stop(t *testing.T, image string) (code int, said string) {
	t.Helper()
	container := mustDocker(t, "run", "--detach", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
		"--mount=type=volume,target=/data", "--env=HOLDFAST_SANDBOX_DATA_DIR=/data", "--env=HOLDFAST_LAME_DUCK=100ms", image)
	defer mustDocker(t, "rm", "--force", "--volumes", container)
	healthy := func() bool {
		_, err := docker("exec", container, "/service", "health")
		return err == nil
	}
	if !assert.Eventually(t, healthy, 30*time.Second, 50*time.Millisecond) {
		require.Fail(t, "it never became healthy", logs(t, container))
	}
	mustDocker(t, "stop", "--time=10", container)
	_, err := fmt.Sscan(mustDocker(t, "inspect", "--format", "{{.State.ExitCode}}", container), &code)
	require.NoError(t, err)
	return code, logs(t, container)
}

// logs is what a container wrote, to either stream.
func logs(t *testing.T, container string) string {
	t.Helper()
	said, err := exec.Command("docker", "logs", container).CombinedOutput()
	require.NoError(t, err)
	return string(said)
}
