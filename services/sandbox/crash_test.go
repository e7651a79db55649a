package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crashDir makes the test binary run as a sandbox over that directory, so that
// a test can kill it the hard way.
const crashDir = "SANDBOX_TEST_DATA_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	cfg := Config{
		HTTPAddr: "127.0.0.1:0", ProbeAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		DrainCap: time.Second, DataDir: dir, Horizon: time.Hour,
	}
	s, err := Start(context.Background(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	if err := s.Run(context.Background()); err != nil {
		os.Exit(1)
	}
}

// process starts a sandbox process and answers its URL and how to kill -9 it.
func process(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed: its exit status is no news
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return line[:len(line)-1], kill
}

func TestWhatWasAnsweredSurvivesKill9(t *testing.T) {
	dir := t.TempDir()
	url, kill := process(t, dir)
	_, _, _, err := call(t, "POST", url+"/faults", `{"seed":3,"rules":[{"kind":"drop","when":"after","sends":1}]}`)
	require.NoError(t, err)
	_, _, _, err = call(t, "POST", url+"/v1/charges", aCharge, "Idempotency-Key", "k1")
	require.Error(t, err, "the script drops the first send after the charge")
	kill()

	url, _ = process(t, dir)
	_, script, _, err := call(t, "GET", url+"/faults", "")
	require.NoError(t, err)
	require.Contains(t, script, `"struck":1`, "the script and its counts survive")
	status, _, headers, err := call(t, "POST", url+"/v1/charges", aCharge, "Idempotency-Key", "k1")
	require.NoError(t, err, "the second send gets through: sends are counted durably")
	require.Equal(t, 200, status)
	require.Equal(t, "true", headers.Get("Idempotent-Replayed"), "the charge survives")
}
