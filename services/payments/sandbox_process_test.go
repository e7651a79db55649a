package payments

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// sandboxProcess is the processor, in a process that can be killed.
type sandboxProcess struct {
	url string
	dir string
	cmd *exec.Cmd
}

// binaries is where what the tests build is put.
var binaries string

func TestMain(m *testing.M) {
	reconcileIfAsked()
	var err error
	if binaries, err = os.MkdirTemp("", "payments-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(binaries) // a temporary directory; nothing depends on it
	os.Exit(code)
}

// sandboxBinary is built once for all tests: services meet over the wire, so a
// test may run the sandbox and must not import it.
var sandboxBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaries, "sandbox")
	out, err := exec.Command("go", "build", "-o", path, "../sandbox/cmd/sandbox").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the sandbox: %w\n%s", err, out)
	}
	return path, nil
})

func startSandbox(t *testing.T) *sandboxProcess {
	t.Helper()
	s := &sandboxProcess{dir: t.TempDir()}
	s.run(t, "127.0.0.1:0")
	t.Cleanup(s.kill)
	return s
}

func (s *sandboxProcess) run(t *testing.T, address string) {
	t.Helper()
	binary, err := sandboxBinary()
	require.NoError(t, err)
	s.cmd = exec.Command(binary)
	s.cmd.Env = append(os.Environ(),
		"HOLDFAST_HTTP_ADDR="+address, "HOLDFAST_PROBE_ADDR=127.0.0.1:0", "HOLDFAST_ADMIN_ADDR=127.0.0.1:0",
		"HOLDFAST_SANDBOX_DATA_DIR="+s.dir, "HOLDFAST_SANDBOX_HORIZON=1h")
	logs, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		var line struct{ Msg, URL string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "sandbox ready" {
			s.url = line.URL
			go func() { _, _ = io.Copy(io.Discard, logs) }() // or a full pipe stops it; ends with the process
			return
		}
	}
	t.Fatal("the sandbox never became ready")
}

// kill ends the sandbox without warning; what it answered is on its disk.
func (s *sandboxProcess) kill() {
	_ = s.cmd.Process.Kill() // already gone is as good
	_ = s.cmd.Wait()         // killed: its exit status is no news
}

// restart brings it back at the same address.
func (s *sandboxProcess) restart(t *testing.T) {
	t.Helper()
	s.run(t, strings.TrimPrefix(s.url, "http://"))
}

// script sets the faults of the sandbox.
func (s *sandboxProcess) script(t *testing.T, script string) {
	t.Helper()
	response, err := http.Post(s.url+"/faults", "application/json", strings.NewReader(script))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
}

// sandboxTotal is what the sandbox has seen of one payment.
type sandboxTotal struct {
	Opened      int   `json:"opened"`
	NetCaptured int64 `json:"net_captured"`
}

func (s *sandboxProcess) total(t *testing.T, payment string) sandboxTotal {
	t.Helper()
	response, err := http.Get(s.url + "/v1/ledger?" + url.Values{"reference": {payment}}.Encode())
	require.NoError(t, err)
	defer response.Body.Close()
	var dump struct {
		Totals []sandboxTotal `json:"totals"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&dump))
	if len(dump.Totals) == 0 {
		return sandboxTotal{}
	}
	return dump.Totals[0]
}

// performed is how often the processor did operations of this kind, declines
// included.
func (s *sandboxProcess) performed(t testing.TB, kind Kind) int {
	t.Helper()
	return s.count(t, func(o sandboxLine) bool { return o.Kind == kind })
}

// succeeded is how many operations of this kind took effect.
func (s *sandboxProcess) succeeded(t testing.TB, kind Kind) int {
	t.Helper()
	return s.count(t, func(o sandboxLine) bool { return o.Kind == kind && o.Status == "succeeded" })
}

// sandboxLine is a line of the sandbox's ledger.
type sandboxLine struct {
	Kind   Kind   `json:"kind"`
	Status string `json:"status"`
}

func (s *sandboxProcess) count(t testing.TB, matches func(sandboxLine) bool) int {
	t.Helper()
	response, err := http.Get(s.url + "/v1/ledger")
	require.NoError(t, err)
	defer response.Body.Close()
	var dump struct {
		Operations []sandboxLine `json:"operations"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&dump))
	n := 0
	for _, o := range dump.Operations {
		if matches(o) {
			n++
		}
	}
	return n
}
