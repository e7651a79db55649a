//go:build unix

package watchdog_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/internal/watchdog"
)

const script = `echo bark > "$1"`

// victimEnv makes this test binary a process that arms a watchdog on the file
// named and waits to be killed.
const victimEnv = "HOLDFAST_WATCHDOG_TEST_VICTIM"

func TestMain(m *testing.M) {
	if file := os.Getenv(victimEnv); file != "" {
		if _, err := watchdog.Start(context.Background(), nil, script, file); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("armed\n")
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func TestTheScriptRunsWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bark")
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), victimEnv+"="+file)
	output, err := victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, victim.Start())
	_, err = output.Read(make([]byte, 16))
	require.NoError(t, err)
	require.False(t, exists(file))

	require.NoError(t, victim.Process.Kill())
	_ = victim.Wait()
	require.Eventually(t, func() bool { return exists(file) }, 10*time.Second, 5*time.Millisecond)
}

func TestFireRunsTheScriptAndWaits(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bark")
	dog, err := watchdog.Start(t.Context(), nil, script, file)
	require.NoError(t, err)
	require.NoError(t, dog.Fire())
	require.True(t, exists(file))
}

func TestAWatchdogThatNobodyHoldsStaysArmed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bark")
	_, err := watchdog.Start(t.Context(), nil, script, file)
	require.NoError(t, err)
	for range 5 {
		runtime.GC()
	}
	require.Never(t, func() bool { return exists(file) }, 200*time.Millisecond, 20*time.Millisecond)
}
