package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// BenchmarkUp starts the platform from nothing, as a newcomer does, and lets it
// settle. It reports how long it took until everything was ready, how long each
// service took from its start on, and the memory that each holds when idle.
// Memory is read from /proc, so it needs Linux.
func BenchmarkUp(b *testing.B) {
	for b.Loop() {
		began := time.Now()
		r := startUp(b, "--ephemeral")
		b.ReportMetric(time.Since(began).Seconds(), "up-s")
		for _, name := range local.StartOrder {
			b.ReportMetric(residentMiB(b, r, name), name+"-rss-MiB")
		}
		for _, name := range local.Databases {
			b.ReportMetric(startSeconds(b, r, name), name+"-start-s")
		}
		require.NoError(b, r.end(b, syscall.SIGTERM))
	}
}

// residentMiB is what a service's process keeps in memory, pages of its
// executable included.
func residentMiB(b *testing.B, r *running, name string) float64 {
	b.Helper()
	pid, err := os.ReadFile(filepath.Join(r.data, "run", name+".pid"))
	require.NoError(b, err)
	status, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "status"))
	require.NoError(b, err)
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	require.Len(b, found, 2)
	kilobytes, err := strconv.ParseFloat(string(found[1]), 64)
	require.NoError(b, err)
	return kilobytes / 1024
}

// startSeconds is how long a service says that it took until it was ready.
func startSeconds(b *testing.B, r *running, name string) float64 {
	b.Helper()
	logged, err := os.ReadFile(filepath.Join(r.data, "logs", name+".log"))
	require.NoError(b, err)
	found := regexp.MustCompile(`"msg":"ready".*"took":"([^"]+)"`).FindSubmatch(logged)
	require.Len(b, found, 2, string(logged))
	took, err := time.ParseDuration(string(found[1]))
	require.NoError(b, err)
	return took.Seconds()
}
