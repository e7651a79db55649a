package shed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What shedding is for, on four servers, in time that is simulated: no machine is
// too busy for it. The same over real connections is in overload_test.go.

// servers that the doors stand before.
var servers = []struct {
	name    string
	workers int
	work    time.Duration
	cfg     Config
}{
	{"8 workers of 80 ms, a floor of half of them", 8, 80 * time.Millisecond, small},
	{"8 workers of 80 ms", 8, 80 * time.Millisecond, DefaultConfig()},
	{"20 workers of 40 ms", 20, 40 * time.Millisecond, DefaultConfig()},
	{"2 workers of 10 ms", 2, 10 * time.Millisecond, DefaultConfig()},
}

// kept is the critical goodput under five times the server's capacity, against
// the same without overload: of critical calls alone, and of as many as the
// server can do (at four fifths of its capacity) in a flood of sheddable ones.
type kept struct{ alone, flooded float64 }

func measureKept(t *testing.T, workers int, work time.Duration, build func(*testing.T) door) kept {
	t.Helper()
	var k kept
	const from, to = 5 * time.Second, 12 * time.Second // of the overload
	capacity := work / time.Duration(workers)          // between two calls
	inTime := traffic{work: always(work), deadline: 500 * time.Millisecond, to: to}
	critical, more := inTime, inTime
	critical.method, critical.every = "critical", capacity
	more.method, more.every, more.from = "critical", capacity/4, from
	bubble(t, func(t *testing.T) {
		all := simulate(t, build(t), newWorkers(workers), critical, more)
		k.alone = all.goodput("critical", from, to) / all.goodput("critical", 0, from)
	})
	critical.every = capacity * 5 / 4
	more.method, more.every = "sheddable", capacity*10/42
	bubble(t, func(t *testing.T) {
		all := simulate(t, build(t), newWorkers(workers), critical, more)
		k.flooded = all.goodput("critical", from, to) / all.goodput("critical", 0, from)
	})
	return k
}

func TestCriticalGoodputSurvivesFiveTimesTheCapacity(t *testing.T) {
	for _, s := range servers {
		k := measureKept(t, s.workers, s.work, func(t *testing.T) door { return shedderDoor{newSimulated(t, s.cfg)} })
		t.Logf("%-45s alone %.2f, in a flood of sheddable calls %.2f", s.name, k.alone, k.flooded)
		require.GreaterOrEqual(t, k.alone, 0.9, s.name)
		require.GreaterOrEqual(t, k.flooded, 0.9, s.name)
	}
}

// TestWithoutSheddingGoodputCollapses is the control.
func TestWithoutSheddingGoodputCollapses(t *testing.T) {
	for _, s := range servers {
		k := measureKept(t, s.workers, s.work, func(*testing.T) door { return open{} })
		t.Logf("%-45s alone %.2f, in a flood of sheddable calls %.2f", s.name, k.alone, k.flooded)
		require.Less(t, k.alone, 0.5, s.name)
		require.Less(t, k.flooded, 0.5, s.name)
	}
}
