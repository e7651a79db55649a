package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// roleVariable makes this test binary play a part of a platform.
const roleVariable = "LOCAL_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "service":
		drain, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		serve(drain, os.Getenv("ADDRESS"))
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		serve(context.Background(), os.Getenv("ADDRESS"))
	case "broken":
		fmt.Println(`{"level":"ERROR","msg":"cannot start","error":"HOLDFAST_X is missing"}`)
		os.Exit(3)
	case "parent":
		child, err := local.Start(service("child", os.Getenv("ADDRESS")))
		if err != nil {
			panic(err)
		}
		fmt.Println("started")
		<-child.Exited()
	default:
		os.Exit(m.Run())
	}
}

// serve is a service: it answers its probe until drain ends.
func serve(drain context.Context, address string) {
	local.Lifeline()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = server.Serve(listener) }()
	<-drain.Done()
	_ = server.Close()
}

func service(role, address string) local.Command {
	if role == "child" {
		role = "service"
	}
	return local.Command{
		Name:   role,
		Env:    append(os.Environ(), roleVariable+"="+role, "ADDRESS="+address),
		Output: os.Stderr,
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	at, err := local.FreeAddresses(t.Context())
	require.NoError(t, err)
	return at.HTTP
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestStopDrains(t *testing.T) {
	address := freeAddress(t)
	process, err := local.Start(service("service", address))
	require.NoError(t, err)
	require.NoError(t, local.AwaitReady(within(t, 10*time.Second), "http://"+address, process))
	require.NoError(t, process.Stop(within(t, 10*time.Second)))
	require.NoError(t, process.Err())
}

func TestAProcessThatDoesNotDrainIsKilled(t *testing.T) {
	address := freeAddress(t)
	process, err := local.Start(service("stubborn", address))
	require.NoError(t, err)
	require.NoError(t, local.AwaitReady(within(t, 10*time.Second), "http://"+address, process))
	require.ErrorContains(t, process.Stop(within(t, 100*time.Millisecond)), "killed")
	require.Error(t, process.Err())
}

func TestNoProcessIsOrphanedWhenItsParentIsKilled(t *testing.T) {
	address := freeAddress(t)
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), roleVariable+"=parent", "ADDRESS="+address)
	output, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "started\n", line)
	answers := func() bool { return local.Ready(t.Context(), "http://"+address) }
	require.Eventually(t, answers, 10*time.Second, 10*time.Millisecond)

	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	require.Eventually(t, func() bool { return !answers() }, 10*time.Second, 10*time.Millisecond)
}

// notes collects what a supervisor says.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

func TestAKilledProcessIsStartedAgain(t *testing.T) {
	address, pidFile, said := freeAddress(t), filepath.Join(t.TempDir(), "pid"), &notes{}
	supervisor := &local.Supervisor{
		Command: service("service", address), ReadyURL: "http://" + address, PIDFile: pidFile, Notify: said.add,
	}
	require.NoError(t, supervisor.Start(within(t, 10*time.Second)))
	pid := func() int {
		text, err := os.ReadFile(pidFile)
		require.NoError(t, err)
		id, err := strconv.Atoi(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		return id
	}
	first := pid()
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	require.Eventually(t, func() bool { return strings.Contains(said.String(), "is back") }, 10*time.Second, 10*time.Millisecond)
	require.NotEqual(t, first, pid())
	require.Contains(t, said.String(), "service died (signal: killed)")
	require.True(t, local.Ready(t.Context(), "http://"+address))

	require.NoError(t, supervisor.Stop(within(t, 10*time.Second)))
	require.False(t, local.Ready(t.Context(), "http://"+address), "a stopped service stays stopped")
}

func TestAServiceThatCannotStartIsAnErrorNotALoop(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	command := service("broken", "")
	command.Output = file
	supervisor := &local.Supervisor{Command: command, ReadyURL: "http://" + freeAddress(t)}
	require.ErrorContains(t, supervisor.Start(within(t, 10*time.Second)), "exit status 3")
	require.Equal(t, "cannot start: HOLDFAST_X is missing", local.WhyItEndedIn(log, 0))
}

func TestATakenPortIsReplacedByTheNextFreeOne(t *testing.T) {
	taken, err := local.Listen(t.Context(), 0)
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	next, err := local.Listen(t.Context(), port)
	require.NoError(t, err)
	defer next.Close()
	require.Greater(t, next.Addr().(*net.TCPAddr).Port, port)
}

func TestADataDirectoryHasOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	data, err := local.OpenData(dir)
	require.NoError(t, err)
	_, err = local.OpenData(dir)
	require.ErrorContains(t, err, "another `holdfast up` uses "+dir)

	secrets, err := data.DerivationSecrets()
	require.NoError(t, err)
	data.Close()
	again, err := local.OpenData(dir)
	require.NoError(t, err, "a directory that was given up can be had")
	defer again.Close()
	same, err := again.DerivationSecrets()
	require.NoError(t, err)
	require.Equal(t, secrets, same, "what ids derive from lives as long as the data")
}

func TestAnUnusableDataDirectoryIsOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := local.OpenData(filepath.Join(file, "data"))
	require.ErrorContains(t, err, "name another place with --data DIR")
	require.NotContains(t, err.Error(), "\n")
}

func TestTemporaryDataLeavesNothing(t *testing.T) {
	data, err := local.TemporaryData()
	require.NoError(t, err)
	require.DirExists(t, data.SandboxDir())
	data.Close()
	_, err = os.Stat(data.Dir)
	require.True(t, errors.Is(err, os.ErrNotExist))
}

func TestEveryErrorOfAProcessThatEndedIsToldAtOnce(t *testing.T) {
	require.Equal(t, "A is missing; B is not a number",
		local.WhyItEnded(`{"msg":"starting"}`+"\nholdfast: A is missing\nholdfast: B is not a number\n"))
}
