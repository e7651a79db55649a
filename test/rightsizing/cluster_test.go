//go:build e2e

package rightsizing

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	namespace = "holdfast-rightsizing"
	manifests = "../../deploy/rightsizing"
	patience  = 4 * time.Minute
)

// TestMain makes the namespace, and removes all that was in it.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _, _ = kubectl("delete", "namespace", namespace, "--wait=false") }()
		return m.Run()
	}())
}

func prepare() error {
	current, err := kubectl("config", "current-context")
	if err != nil {
		return err
	}
	if current = strings.TrimSpace(current); !strings.HasPrefix(current, "kind-") && current != os.Getenv("HOLDFAST_E2E_CONTEXT") {
		return fmt.Errorf("the context %q is not marked as safe for tests: set HOLDFAST_E2E_CONTEXT=%s if it is", current, current)
	}
	if _, err := kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=3m"); err != nil {
		return err
	}
	_, err = kubectl("apply", "-f", filepath.Join(manifests, "namespace.yaml"))
	return err
}

// kubectl returns what it prints; its error has what it says is wrong.
func kubectl(args ...string) (string, error) {
	out, err := exec.Command("kubectl", append([]string{"--namespace", namespace}, args...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(args...)
	require.NoError(t, err)
	return out
}

// container is the part of a pod's status that tells how its one container
// fares.
type container struct {
	RestartCount int
	Resources    struct{ Limits map[string]string }
	State, Last  ending
}

// ending is how a container ended, if it has.
type ending struct {
	Reason, Message string
	ExitCode        int
}

// start applies one of the manifests.
func start(t *testing.T, pod string) {
	t.Helper()
	must(t, "apply", "-f", filepath.Join(manifests, pod+".yaml"))
	t.Cleanup(func() { must(t, "delete", "pod", pod, "--wait=false") })
}

// await waits until the pod's container is as the condition wants it.
func await(t *testing.T, pod, what string, holds func(container) bool) container {
	t.Helper()
	var c container
	require.Eventually(t, func() bool {
		var status struct {
			Status struct {
				ContainerStatuses []struct {
					RestartCount int
					Resources    struct{ Limits map[string]string }
					State        struct{ Terminated ending }
					LastState    struct{ Terminated ending }
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(must(t, "get", "pod", pod, "-o", "json")), &status))
		if len(status.Status.ContainerStatuses) == 0 {
			return false
		}
		s := status.Status.ContainerStatuses[0]
		c = container{s.RestartCount, s.Resources, s.State.Terminated, s.LastState.Terminated}
		return holds(c)
	}, patience, time.Second, "%s: %s", pod, what)
	return c
}

// result is what the pod's program told when it was done.
func result[T any](t *testing.T, pod string) (T, container) {
	t.Helper()
	c := await(t, pod, "it ends by itself", func(c container) bool { return c.State.Reason == "Completed" })
	var r T
	require.NoError(t, json.Unmarshal([]byte(c.State.Message), &r), c.State.Message)
	t.Logf("%s: %s", pod, c.State.Message)
	return r, c
}
