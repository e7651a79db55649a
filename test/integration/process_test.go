package integration

import (
	"context"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// process is one service, which can be killed and started again at the same
// addresses.
type process struct {
	name        string
	grpc, http  string // addresses
	probe       string
	environment map[string]string

	cmd    *exec.Cmd
	output *lockedBuffer
}

// newProcess reserves addresses and does not start anything.
func newProcess(t testing.TB, name string, environment map[string]string) *process {
	t.Helper()
	free, err := local.FreeAddresses(t.Context())
	require.NoError(t, err)
	p := &process{name: name, grpc: free.GRPC, http: free.HTTP, probe: free.Probe, output: &lockedBuffer{}}
	p.environment = map[string]string{
		serviceVariable:       name,
		"HOLDFAST_ENV":        "development",
		"HOLDFAST_GRPC_ADDR":  p.grpc,
		"HOLDFAST_HTTP_ADDR":  p.http,
		"HOLDFAST_PROBE_ADDR": p.probe,
		"HOLDFAST_ADMIN_ADDR": free.Admin,
		"HOLDFAST_LAME_DUCK":  "0s",
	}
	maps.Copy(p.environment, environment)
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("--- %s said:\n%s", name, p.output)
		}
	})
	return p
}

func (p *process) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range p.environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	return cmd
}

// migrate brings the service's database up to date.
func (p *process) migrate(t testing.TB) {
	t.Helper()
	require.NoError(t, p.command(t.Context(), "migrate").Run(), "%s migrate: %s", p.name, p.output)
}

// start starts the service and waits until it is ready.
func (p *process) start(t testing.TB) {
	t.Helper()
	// It outlives the test's own context: stop ends it.
	p.cmd = p.command(context.WithoutCancel(t.Context()))
	require.NoError(t, p.cmd.Start())
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + p.probe + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, 30*time.Second, 10*time.Millisecond, "%s does not become ready: %s", p.name, p.output)
}

// kill ends the service as a power cut would.
func (p *process) kill(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // says that it was killed
	p.cmd = nil
}

// stop asks the service to end, and holds it to draining and exiting with 0.
func (p *process) stop(t testing.TB) {
	t.Helper()
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("%s is gone already: %v", p.name, err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s did not end well: %v", p.name, err)
	}
	p.cmd = nil
}

// lockedBuffer keeps what a process says.
type lockedBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
