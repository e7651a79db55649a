package resources

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const childVariable = "HOLDFAST_TEST_RESOURCES"

// childOfATest makes the test binary a process that waits for a line, fits
// itself with what the kernel really says, and reports whenever asked.
func childOfATest() bool {
	if os.Getenv(childVariable) == "" {
		return false
	}
	asked := bufio.NewScanner(os.Stdin)
	var fitted *Fitted
	for asked.Scan() {
		if fitted == nil {
			fitted = Fit(Config{MemoryLimit: os.Getenv("GOMEMLIMIT")}, slog.New(slog.DiscardHandler))
			defer fitted.Close()
		}
		_ = json.NewEncoder(os.Stdout).Encode(fitted.Report())
	}
	return true
}

// TestTheLimitOfARealCgroupIsObeyedAndFollowed puts a process into a cgroup
// made for it, and changes the limit under it.
func TestTheLimitOfARealCgroupIsObeyedAndFollowed(t *testing.T) {
	cgroup := filepath.Join(cgroupV1(t), fmt.Sprintf("holdfast-test-%d", os.Getpid()))
	err := os.Mkdir(cgroup, 0o755)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		t.Skipf("whoever runs this may make no cgroup; the fixtures must do: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(cgroup)) })
	write := func(file, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(cgroup, file), []byte(text), 0o644))
	}
	write("memory.limit_in_bytes", "268435456")

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=1", "GOMEMLIMIT=")
	stdin, err := child.StdinPipe()
	require.NoError(t, err)
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = stdin.Close(); require.NoError(t, child.Wait()) })
	write("cgroup.procs", strconv.Itoa(child.Process.Pid))

	answers := json.NewDecoder(stdout)
	report := func() (r Report) {
		t.Helper()
		_, err := stdin.Write([]byte("\n"))
		require.NoError(t, err)
		require.NoError(t, answers.Decode(&r))
		return r
	}
	r := report()
	require.Equal(t, int64(268435456), r.MemoryLimit)
	require.Equal(t, int64(241591911), r.GoMemLimit)
	require.Equal(t, "cgroup v1, "+filepath.Join(cgroup, "memory.limit_in_bytes"), r.MemoryLimitFrom)

	write("memory.limit_in_bytes", "134217728")
	require.Eventually(t, func() bool { return report().GoMemLimit == 120795956 }, 3*followEvery, 100*time.Millisecond)
}

// cgroupV1 is the directory of this process's own cgroup for memory, of v1.
func cgroupV1(t *testing.T) string {
	t.Helper()
	root := os.DirFS("/")
	mounts, err := readMounts(root)
	require.NoError(t, err)
	cgroups, err := readCgroups(root)
	require.NoError(t, err)
	for _, m := range mounts {
		if directory, visible := m.directory(cgroups[1]); m.version == 1 && visible && cgroups[1] != "" {
			return "/" + directory
		}
	}
	t.Skip("memory is not limited by cgroup v1 here; the fixtures and the tests on a cluster must do")
	return ""
}
