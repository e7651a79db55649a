package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// garbage is what making garbage has cost.
type garbage struct {
	GoMemLimit  int64   `json:"gomemlimit"`
	Live        int64   `json:"live_bytes"`
	Made        int64   `json:"garbage_bytes"`
	Seconds     float64 `json:"seconds"`
	Collections uint32  `json:"collections"`
	// Peak is the most that the container has used, as the kernel counts it; 0 if
	// it does not say.
	Peak int64 `json:"peak_bytes"`
}

// makeGarbage keeps live bytes and makes churn bytes of garbage beside them, in
// pieces as a service's requests are. Without GOMEMLIMIT the heap grows to
// twice what is live before the garbage is collected.
func makeGarbage(live, churn int64) garbage {
	const piece = 64 << 10
	began := time.Now()
	kept := make([][]byte, 0, live/piece)
	for range live / piece {
		kept = append(kept, touched(piece))
	}
	var dropped []byte
	for range churn / piece {
		dropped = touched(piece)
	}
	runtime.KeepAlive(dropped) // or the compiler sees that nobody reads it
	runtime.KeepAlive(kept)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return garbage{
		GoMemLimit: debug.SetMemoryLimit(-1), Live: live, Made: churn, Seconds: time.Since(began).Seconds(),
		Collections: stats.NumGC, Peak: peak(),
	}
}

// touched is memory that the kernel has had to give: a page that was never
// written to costs nothing.
func touched(size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	return b
}

func peak() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"} {
		if content, err := os.ReadFile(file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64); err == nil {
				return n
			}
		}
	}
	return 0
}
