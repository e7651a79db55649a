package resources

import (
	"bytes"
	"io/fs"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// fake is a machine that remembers what was set.
type fake struct {
	files fstest.MapFS
	cpus  int

	mu     sync.Mutex
	procs  int
	memory int64
	log    bytes.Buffer
}

// container is a machine whose process may use so much memory (the text of
// memory.max of v2).
func container(limit string) *fake {
	f := &fake{cpus: 16, procs: 16, memory: math.MaxInt64}
	f.files = tree(map[string]string{"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/\n"})
	f.resize(limit)
	return f
}

func (f *fake) resize(limit string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files["sys/fs/cgroup/memory.max"] = &fstest.MapFile{Data: []byte(limit + "\n")}
}

// Open implements fs.FS: files are read while they change.
func (f *fake) Open(name string) (fs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files.Open(name)
}

func (f *fake) fit(cfg Config) *Fitted {
	return fit(cfg, slog.New(slog.NewJSONHandler(f, nil)), machine{
		root: f, cpus: f.cpus, maxProcs: f.maxProcs, memoryLimit: f.memoryLimit, followInterval: followEvery,
	})
}

func (f *fake) maxProcs(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.procs
	if n > 0 {
		f.procs = n
	}
	return before
}

func (f *fake) memoryLimit(n int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.memory
	if n >= 0 {
		f.memory = n
	}
	return before
}

func (f *fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

// said returns the log lines with this message.
func (f *fake) said(message string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Count(f.log.String(), `"msg":"`+message+`"`)
}

func TestGOMEMLIMITIs90PercentOfTheLimit(t *testing.T) {
	f := container("268435456")
	fitted := f.fit(Config{})
	defer fitted.Close()
	require.Equal(t, int64(241591911), f.memoryLimit(-1))
	require.Equal(t, Report{
		MemoryLimit: 268435456, MemoryLimitFrom: "cgroup v2, /sys/fs/cgroup/memory.max",
		GoMemLimit: 241591911, GoMemLimitFrom: "90 % of the memory limit",
		GoMaxProcs: 16, GoMaxProcsFrom: "the Go runtime",
	}, fitted.Report())
}

func TestTheUsersOwnGOMEMLIMITWins(t *testing.T) {
	for _, own := range []string{"100MiB", "off"} {
		synctest.Test(t, func(t *testing.T) {
			f := container("268435456")
			f.memory = 104857600 // as the runtime has read it
			fitted := f.fit(Config{MemoryLimit: own})
			defer fitted.Close()
			f.resize("536870912")
			pass(followEvery)
			require.Equal(t, int64(104857600), f.memoryLimit(-1))
			r := fitted.Report()
			require.Equal(t, "GOMEMLIMIT", r.GoMemLimitFrom)
			require.Equal(t, int64(536870912), r.MemoryLimit, "it is shown all the same")
		})
	}
}

func TestWithoutALimitGoDecides(t *testing.T) {
	f := container("max")
	fitted := f.fit(Config{})
	defer fitted.Close()
	require.Equal(t, int64(math.MaxInt64), f.memoryLimit(-1))
	r := fitted.Report()
	require.Equal(t, "none", r.MemoryLimitFrom)
	require.Zero(t, r.GoMemLimit)
}

// pass lets time pass, and what happens at its end happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAResizeIsFollowedAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := container("100000000")
		fitted := f.fit(Config{})
		defer fitted.Close()
		require.Equal(t, int64(90000000), f.memoryLimit(-1))
		pass(10 * followEvery)
		require.Zero(t, f.said("the memory limit has changed"), "it has not")

		f.resize("200000000")
		pass(followEvery)
		require.Equal(t, int64(180000000), f.memoryLimit(-1))
		require.Equal(t, 1, f.said("the memory limit has changed"), f.log.String())

		f.resize("max")
		pass(followEvery)
		require.Equal(t, int64(math.MaxInt64), f.memoryLimit(-1))

		f.resize("50000000")
		pass(followEvery)
		require.Equal(t, int64(45000000), f.memoryLimit(-1))
		require.Equal(t, 3, f.said("the memory limit has changed"))
	})
}

// TestAfterCloseAResizeIsNotFollowed is the control: it is the goroutine, and
// nothing else, that follows; and Close has waited for its end.
func TestAfterCloseAResizeIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := container("100000000")
		f.fit(Config{}).Close()
		f.resize("200000000")
		pass(10 * followEvery)
		require.Equal(t, int64(90000000), f.memoryLimit(-1))
	})
}

func TestGarbageIsLoggedOnceAndTheStartGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := container("plenty")
		fitted := f.fit(Config{CPURequest: 3000})
		defer fitted.Close()
		require.Equal(t, int64(math.MaxInt64), f.memoryLimit(-1))
		require.Equal(t, 3, f.maxProcs(0), "the rest is fitted")
		require.Contains(t, fitted.Report().Problem, `/sys/fs/cgroup/memory.max holds "plenty"`)
		pass(10 * followEvery)
		require.Equal(t, 1, f.said("the memory limit cannot be read"))

		f.resize("100000000")
		pass(followEvery)
		require.Equal(t, int64(90000000), f.memoryLimit(-1), "it is tried again")
		require.Empty(t, fitted.Report().Problem)

		f.resize("rubbish")
		pass(followEvery)
		require.Equal(t, int64(90000000), f.memoryLimit(-1), "what was known holds")
	})
}

func TestGOMAXPROCSIsTheRequestRoundedUpTwoAtLeast(t *testing.T) {
	for _, c := range []struct{ request, cpus, want int }{
		{100, 16, 2},
		{1000, 16, 2},
		{2000, 16, 2},
		{2001, 16, 3},
		{3500, 16, 4},
		{8000, 4, 4}, // never more than there are
		{100, 1, 1},
	} {
		f := container("max")
		f.cpus, f.procs = c.cpus, c.cpus
		fitted := f.fit(Config{CPURequest: c.request})
		require.Equal(t, c.want, f.maxProcs(0), "%d thousandths on %d CPUs", c.request, c.cpus)
		require.Equal(t, "HOLDFAST_CPU_REQUEST", fitted.Report().GoMaxProcsFrom)
		fitted.Close()
	}
}

func TestTheUsersOwnGOMAXPROCSWins(t *testing.T) {
	f := container("max")
	f.procs = 7 // as the runtime has read it
	fitted := f.fit(Config{CPURequest: 3000, MaxProcs: "7"})
	defer fitted.Close()
	require.Equal(t, 7, f.maxProcs(0))
	require.Equal(t, "GOMAXPROCS", fitted.Report().GoMaxProcsFrom)
}

func TestWithoutARequestGoDecides(t *testing.T) {
	f := container("max")
	fitted := f.fit(Config{})
	defer fitted.Close()
	require.Equal(t, 16, f.maxProcs(0))
	require.Equal(t, "the Go runtime", fitted.Report().GoMaxProcsFrom)
}

func TestARequestIsNotNegative(t *testing.T) {
	require.NoError(t, Config{}.Validate())
	require.ErrorContains(t, Config{CPURequest: -1}.Validate(), "HOLDFAST_CPU_REQUEST")
}

func TestMain(m *testing.M) {
	if childOfATest() {
		return
	}
	goleak.VerifyTestMain(m)
}
