package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

// serveAsProcess is main of a service, with what only tests may set.
func serveAsProcess() {
	sabotage := map[string]Sabotage{"no-drain": NoDrain, "no-readiness-flip": NoReadinessFlip}[os.Getenv("HOLDFAST_TEST_SABOTAGE")]
	ready := WithReady(func(a Addresses) { fmt.Printf("ready %s %s %s %s\n", a.GRPC, a.HTTP, a.Probe, a.Admin) })
	if err := Run(context.Background(), definition(&shop{}), os.Args[1:], os.Stdout, ready, WithSabotage(sabotage)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is the service as a process.
type child struct {
	Addresses
	*exec.Cmd
	stderr *logtest.Buffer
	exited chan struct{} // closed after Wait
}

// spawn starts the service as a process of its own and returns when it is
// ready.
func spawn(t *testing.T, changes ...string) *child {
	t.Helper()
	c := command(t, changes...)
	stdout, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-c.exited
	})
	var line [512]byte
	n, err := stdout.Read(line[:])
	go func() {
		_ = c.Wait()
		close(c.exited)
	}()
	require.NoError(t, err, c.stderr)
	_, err = fmt.Sscanf(string(line[:n]), "ready %s %s %s %s", &c.GRPC, &c.HTTP, &c.Probe, &c.Admin)
	require.NoError(t, err, string(line[:n]))
	return c
}

// command is the test binary as a service, not started yet.
func command(t *testing.T, changes ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), stderr: &logtest.Buffer{}, exited: make(chan struct{})}
	c.Env = append(os.Environ(), "HOLDFAST_TEST_PROCESS=1")
	for name, value := range environment(changes...) {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Stderr = c.stderr
	return c
}

// awaitExit returns the exit code.
func (c *child) awaitExit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-c.exited:
	case <-time.After(within):
		require.Fail(t, "the process did not exit", c.stderr)
	}
	return c.ProcessState.ExitCode()
}
