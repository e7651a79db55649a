package bench

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// subject is one of the things that are compared, and what its calls have cost.
type subject struct {
	name string
	call func(context.Context) error

	calls  int
	cpu    time.Duration // of the process: client and server, if both are in it
	allocs uint64
}

// ours names the platform's own subject.
const ours = "ours"

// compare measures the subjects, which take turns, and reports for one call
//
//	NAME-ns      CPU time of the first one, to which the others add; what they add
//	NAME-allocs  allocations, likewise
//	ours/NAME    CPU time that ours adds, as part of what NAME adds
//
// A turn is so many calls. The order of each round is drawn anew: what one leaves
// to the garbage collector is then not always the same one's to pay for.
func compare(b *testing.B, turn int, subjects ...*subject) {
	b.Helper()
	for _, s := range subjects {
		s.run(b, 2000) // connections, pools and caches
		s.calls, s.cpu, s.allocs = 0, 0, 0
	}
	order := slices.Clone(subjects)
	b.ResetTimer()
	for n := 0; n < b.N; n += turn {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			s.run(b, turn)
		}
	}
	b.StopTimer()
	report(b, subjects[0], subjects[1:])
}

func report(b *testing.B, bare *subject, others []*subject) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // of all of them together: says nothing
	b.ReportMetric(bare.nanos(), bare.name+"-ns")
	b.ReportMetric(bare.allocations(), bare.name+"-allocs")
	var own *subject
	for _, s := range others {
		if s.name == ours {
			own = s
		}
	}
	for _, s := range others {
		b.ReportMetric(s.nanos()-bare.nanos(), s.name+"-ns")
		b.ReportMetric(s.allocations()-bare.allocations(), s.name+"-allocs")
		if s != own {
			b.ReportMetric((own.nanos()-bare.nanos())/(s.nanos()-bare.nanos()), "ours/"+s.name)
		}
	}
}

func (s *subject) run(b *testing.B, calls int) {
	b.Helper()
	ctx := b.Context()
	allocs, cpu := mallocs(), cpuTime(b)
	for range calls {
		if err := s.call(ctx); err != nil {
			b.Fatalf("%s: %v", s.name, err)
		}
	}
	s.cpu += cpuTime(b) - cpu
	s.allocs += mallocs() - allocs
	s.calls += calls
}

func (s *subject) nanos() float64       { return float64(s.cpu) / float64(s.calls) }
func (s *subject) allocations() float64 { return float64(s.allocs) / float64(s.calls) }

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
