package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/test/load"
)

// burst is a request that is worked on by several goroutines at once.
type burst struct {
	rate   float64
	width  int
	work   time.Duration
	length time.Duration
}

// answered is how long requests took, and what the kernel did to them.
type answered struct {
	Requests int64 `json:"requests"`
	// Cores is the CPU that the work alone takes, on average.
	Cores float64 `json:"cores"`
	P50   float64 `json:"p50_seconds"`
	P99   float64 `json:"p99_seconds"`
	Max   float64 `json:"max_seconds"`
	// Periods and Throttled count enforcement periods of the CPU limit, and those
	// in which it was used up; ThrottledSeconds is how long threads stood still.
	Periods          int64   `json:"nr_periods"`
	Throttled        int64   `json:"nr_throttled"`
	ThrottledSeconds float64 `json:"throttled_seconds"`
}

// run answers requests as they come due (an open loop, so that what waits for
// CPU is seen to wait), and counts.
func (b burst) run(ctx context.Context) answered {
	ctx, cancel := context.WithTimeout(ctx, b.length)
	defer cancel()
	// Requests under way when the time is up are finished, not failed.
	requests := load.Start(context.WithoutCancel(ctx), load.Plan{Rate: b.rate, Operation: b.answer}, "all")
	<-ctx.Done()
	phase := requests.Stop().Phases[0]
	a := answered{
		Requests: phase.Sent, Cores: b.rate * float64(b.width) * b.work.Seconds(),
		P50: phase.P50.Seconds(), P99: phase.P99.Seconds(), Max: phase.Max.Seconds(),
	}
	a.readThrottling()
	return a
}

func (b burst) answer(context.Context, load.Arrival) load.Verdict {
	var pieces sync.WaitGroup
	for range b.width {
		pieces.Go(func() { spin(b.work) })
	}
	pieces.Wait()
	return load.Verdict{}
}

// readThrottling reads cpu.stat of this container, of v2 or v1.
func (a *answered) readThrottling() {
	for _, file := range []string{"/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat", "/sys/fs/cgroup/cpu,cpuacct/cpu.stat"} {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			var name string
			var n int64
			if _, err := fmt.Sscan(line, &name, &n); err != nil {
				continue
			}
			switch name {
			case "nr_periods":
				a.Periods = n
			case "nr_throttled":
				a.Throttled = n
			case "throttled_time": // v1: nanoseconds
				a.ThrottledSeconds = float64(n) / 1e9
			case "throttled_usec": // v2
				a.ThrottledSeconds = float64(n) / 1e6
			}
		}
		return
	}
}
