package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// helperEnv makes this test binary another process that uses a server: it
// starts or adopts it, prints its URL and folder, and stops when its input
// ends. The value is the data directory, or "ephemeral".
const helperEnv = "HOLDFAST_EMBEDDED_TEST_HELPER"

func TestMain(m *testing.M) {
	if where := os.Getenv(helperEnv); where != "" {
		if err := helper(where); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func helper(where string) error {
	opts := Options{DataDir: where, Log: slog.New(slog.DiscardHandler)}
	if where == "ephemeral" {
		opts = Options{Ephemeral: true, Log: opts.Log}
	}
	server, err := Start(context.Background(), opts)
	if err != nil {
		return err
	}
	fmt.Println(server.URL(), server.DataDir(), server.Reused())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return server.Stop(context.Background())
}

// otherProcess is a helper that runs.
type otherProcess struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	url    string
	dir    string
	reused string
}

func startOther(t *testing.T, where string) *otherProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+where)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	other := &otherProcess{cmd: cmd, input: input}
	_, err = fmt.Fscanln(bufio.NewReader(output), &other.url, &other.dir, &other.reused)
	require.NoError(t, err)
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return other
}

func (o *otherProcess) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, o.input.Close())
	require.NoError(t, o.cmd.Wait())
}

func (o *otherProcess) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, o.cmd.Process.Kill())
	_ = o.cmd.Wait()
}

// start starts a server and stops it with the test if the test has not.
func start(t *testing.T, opts Options) *Server {
	t.Helper()
	opts.Log = slog.New(slog.DiscardHandler)
	server, err := Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server
}

// dataDir is a folder that the account which runs the server can reach.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "holdfast-embedded-test-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url+"&dbname=postgres")
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(values, ",")
}

func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url+"&dbname=postgres")
	if err != nil {
		return false
	}
	_ = conn.Close(ctx)
	return true
}

func TestDataAndAddressSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, Options{DataDir: dir})
	query(t, first.URL(), "CREATE TABLE kept AS SELECT 'still here' AS word")
	require.NoError(t, first.Stop(t.Context()))
	require.False(t, answers(first.URL()))

	second := start(t, Options{DataDir: dir})
	require.Equal(t, first.URL(), second.URL())
	require.False(t, second.Reused())
	require.Equal(t, "still here", query(t, second.URL(), "SELECT word FROM kept"))
}

func TestDataDirectoriesAreNamedByMajorVersion(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	server := start(t, Options{DataDir: dir})
	require.Equal(t, filepath.Join(dir, server.Version()), server.DataDir())
	require.True(t, strings.HasPrefix(query(t, server.URL(), "SHOW server_version"), server.Version()+"."))
}

func TestASecondProcessUsesTheSameServerAndTheLastOneStopsIt(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, Options{DataDir: dir})
	second := startOther(t, dir)
	require.Equal(t, first.URL(), second.url)
	require.Equal(t, "true", second.reused)

	require.NoError(t, first.Stop(t.Context()))
	require.True(t, answers(second.url), "the first left and took the server with it")
	second.stop(t)
	require.False(t, answers(second.url), "the last left and the server still runs")
}

func TestProcessesThatStartAtTheSameTimeStartOneServer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	urls := make([]string, 3)
	var group sync.WaitGroup
	for i := range urls {
		group.Go(func() { urls[i] = start(t, Options{DataDir: dir}).URL() })
	}
	group.Wait()
	require.Equal(t, urls[0], urls[1])
	require.Equal(t, urls[0], urls[2])
}

func TestAKilledUserLeavesAServerThatTheNextAdopts(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	killed := startOther(t, dir)
	killed.kill(t)
	next := start(t, Options{DataDir: dir})
	require.True(t, next.Reused())
	require.Equal(t, killed.url, next.URL())
	require.NoError(t, next.Stop(t.Context()))
	require.False(t, answers(next.URL()))
}

func TestAKilledServerRecoversWhatWasCommitted(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	killed := start(t, Options{DataDir: dir})
	query(t, killed.URL(), "CREATE TABLE kept AS SELECT 'committed' AS word")
	require.NoError(t, syscall.Kill(killed.pid, syscall.SIGKILL))
	require.FileExists(t, killed.files.pid, "kill -9 leaves the pid file")

	next := start(t, Options{DataDir: dir})
	require.False(t, next.Reused())
	require.Equal(t, "committed", query(t, next.URL(), "SELECT word FROM kept"))
}

func TestAPidFileThatNamesAnotherProcessIsStale(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, Options{DataDir: dir})
	content, err := os.ReadFile(first.files.pid)
	require.NoError(t, err)
	require.NoError(t, first.Stop(t.Context()))

	// As after a reboot that gave the pid to some other program of the account.
	sleeper := first.command(t.Context(), "../../../../bin/sleep", "60")
	sleeper.Path = "/bin/sleep"
	require.NoError(t, sleeper.Start())
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	_, rest, _ := strings.Cut(string(content), "\n")
	stale := fmt.Sprintf("%d\n%s", sleeper.Process.Pid, rest)
	require.NoError(t, os.WriteFile(first.files.pid, []byte(stale), 0o600))
	require.NoError(t, first.account.own(first.files.pid))

	require.False(t, start(t, Options{DataDir: dir}).Reused())
}

func TestAPortThatIsTakenIsReplaced(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, Options{DataDir: dir})
	require.NoError(t, first.Stop(t.Context()))
	squatter := start(t, Options{Ephemeral: true, Port: first.port})
	second := start(t, Options{DataDir: dir})
	require.NotEqual(t, squatter.URL(), second.URL())
	require.True(t, answers(second.URL()))
}

func TestAnEphemeralServerLeavesNothing(t *testing.T) {
	t.Parallel()
	server := start(t, Options{Ephemeral: true})
	require.True(t, answers(server.URL()))
	require.NoError(t, server.Stop(t.Context()))
	require.NoDirExists(t, server.DataDir())
	require.False(t, answers(server.URL()))
}

func TestAnEphemeralServerLeavesNothingWhenItsProcessIsKilled(t *testing.T) {
	t.Parallel()
	other := startOther(t, "ephemeral")
	require.True(t, answers(other.url))
	other.kill(t)
	require.Eventually(t, func() bool {
		_, err := os.Stat(other.dir)
		return os.IsNotExist(err) && !answers(other.url)
	}, 20*time.Second, 20*time.Millisecond)
}

func TestAServerComesBackOnItsPortAfterHaltAndCrash(t *testing.T) {
	t.Parallel()
	server := start(t, Options{Ephemeral: true})
	url := server.URL()
	for _, down := range []func(context.Context) error{server.Halt, server.Crash} {
		require.NoError(t, down(t.Context()))
		require.False(t, answers(url))
		require.NoError(t, server.Resume(t.Context()))
		require.True(t, answers(url))
	}
}

func TestACopiedClusterServesLikeAnInitialisedOne(t *testing.T) {
	t.Parallel()
	seed := t.TempDir()
	for range 2 {
		server := start(t, Options{Ephemeral: true, Seed: seed})
		require.Equal(t, "UTF8", query(t, server.URL(), "SHOW server_encoding"))
	}
}
