package resources

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// followEvery is how often the memory limit is read again. Reading it costs a
// few small files of the kernel's, a fraction of a millisecond.
const followEvery = 5 * time.Second

// machine is what a process is fitted to, and with; tests bring their own.
type machine struct {
	root           fs.FS
	cpus           int
	maxProcs       func(int) int     // as runtime.GOMAXPROCS
	memoryLimit    func(int64) int64 // as debug.SetMemoryLimit
	followInterval time.Duration
}

// Fitted is a process that has been fitted to its container. Close it.
type Fitted struct {
	log     *slog.Logger
	machine machine
	cfg     Config

	mu      sync.Mutex
	limit   Limit
	problem string // why the limit could not be read, when that was last tried

	stop      chan struct{}
	following sync.WaitGroup
	unmeter   func() error
}

// Fit fits this process to its container, and goes on following the container's
// memory limit until the result is closed. It never fails: what cannot be read
// is logged, and leaves the Go runtime's own choice.
func Fit(cfg Config, log *slog.Logger) *Fitted {
	return fit(cfg, log, machine{
		root:           os.DirFS("/"),
		cpus:           runtime.NumCPU(),
		maxProcs:       runtime.GOMAXPROCS,
		memoryLimit:    debug.SetMemoryLimit,
		followInterval: followEvery,
	})
}

func fit(cfg Config, log *slog.Logger, on machine) *Fitted {
	f := &Fitted{log: log, machine: on, cfg: cfg, stop: make(chan struct{})}
	if cfg.MaxProcs == "" && cfg.CPURequest > 0 {
		on.maxProcs(procsFor(cfg.CPURequest, on.cpus)) // once: a request is not followed
	}
	f.read()
	r := f.Report()
	log.Info("fitted to the container",
		"memory_limit", r.MemoryLimit, "memory_limit_from", r.MemoryLimitFrom,
		"gomemlimit", r.GoMemLimit, "gomemlimit_from", r.GoMemLimitFrom,
		"gomaxprocs", r.GoMaxProcs, "gomaxprocs_from", r.GoMaxProcsFrom)
	f.unmeter = f.measure()
	f.following.Go(f.follow)
	return f
}

// procsFor is GOMAXPROCS for a request in thousandths of a CPU.
func procsFor(request, cpus int) int {
	return min(max(2, (request+999)/1000), cpus)
}

// follow reads the limit again and again until it is told to stop.
func (f *Fitted) follow() {
	tick := time.NewTicker(f.machine.followInterval)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		if before, now := f.read(); before != now {
			f.log.Info("the memory limit has changed", "from", before.Bytes, "to", now.Bytes,
				"memory_limit_from", now.String(), "gomemlimit", f.Report().GoMemLimit)
		}
	}
}

// read reads the limit and sets GOMEMLIMIT by it, unless that is the user's.
// What cannot be read changes nothing, and is told once.
func (f *Fitted) read() (before, now Limit) {
	limit, err := ReadMemoryLimit(f.machine.root)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if problem := err.Error(); problem != f.problem {
			f.problem = problem
			f.log.Warn("the memory limit cannot be read", "error", err)
		}
		return f.limit, f.limit
	}
	f.problem = ""
	before, f.limit = f.limit, limit
	if before != limit && f.cfg.MemoryLimit == "" {
		f.machine.memoryLimit(goLimit(limit))
	}
	return before, limit
}

// goLimit is GOMEMLIMIT for a limit: 90 % of it.
func goLimit(l Limit) int64 {
	if !l.Limited() {
		return math.MaxInt64 // which is how Go says off
	}
	return l.Bytes - l.Bytes/10
}

// Close ends the following of the limit, and returns when nothing is left
// running. What was set stays.
func (f *Fitted) Close() {
	close(f.stop)
	f.following.Wait()
	if err := f.unmeter(); err != nil {
		f.log.Warn("the metrics of resources do not stop", "error", err)
	}
}
