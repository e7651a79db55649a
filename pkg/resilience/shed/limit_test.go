package shed

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheLimitFollowsAServerThatBecomesSlower: its work takes three times as
// long for a while, under twice what it can do at its best.
func TestTheLimitFollowsAServerThatBecomesSlower(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, impatient())
		const second, usual = time.Second, 40 * time.Millisecond
		work := func(since time.Duration) time.Duration {
			if since >= 15*second && since < 40*second {
				return 3 * usual
			}
			return usual
		}
		all := simulate(t, shedderDoor{s}, newWorkers(20),
			traffic{method: "critical", every: time.Millisecond, work: work, deadline: time.Second, to: 55 * second})
		const best, worst = 500, 166 // a second
		for from := time.Duration(0); from < 55*second; from += second {
			did := all.goodput("critical", from, from+second)
			switch {
			case from == 15*second, from == 16*second, from == 40*second: // it takes a moment
				require.Greater(t, did, 0.6*worst, "%v", from)
			case from > 15*second && from < 40*second:
				require.Greater(t, did, 0.85*worst, "%v", from)
			default:
				require.Greater(t, did, 0.75*best, "%v: a second with a probe in it, at the least", from)
			}
		}
		require.Greater(t, all.goodput("critical", 0, 15*second), 0.97*best)
		require.Greater(t, all.goodput("critical", 41*second, 55*second), 0.95*best)
		require.Less(t, all.slowest("critical", 0.99, 0, 15*second), 5*usual)
		require.Less(t, all.slowest("critical", 0.99, 20*second, 40*second), 5*3*usual)
	})
}

// TestALongOverloadDoesNotMakeTheOverloadLookNormal: what is compared with is
// learned at a calm time, or in a probe.
func TestALongOverloadDoesNotMakeTheOverloadLookNormal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, impatient())
		const work, to = 80 * time.Millisecond, 2 * time.Minute
		all := simulate(t, shedderDoor{s}, newWorkers(20),
			traffic{method: "critical", every: work / 20 / 2, work: always(work), deadline: time.Second, to: to})
		require.Greater(t, all.goodput("critical", 0, to), 0.98*20*float64(time.Second)/float64(work))
		require.Less(t, all.slowest("critical", 0.99, to-10*time.Second, to), 5*work)
	})
}

// TestAProbeMendsWhatWasLearnedInBadTimes: such times are over, but under an
// overload no call is calm, so nothing would be learned anew.
func TestAProbeMendsWhatWasLearnedInBadTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, impatient())
		const work, to = 50 * time.Millisecond, 50 * time.Second
		for _, m := range s.methods { // as if a database had been slow
			m.pace.calm = float64(time.Second)
		}
		all := simulate(t, shedderDoor{s}, newWorkers(20),
			traffic{method: "critical", every: work / 20 / 3, work: always(work), deadline: time.Second, to: to})
		before := all.slowest("critical", 0.5, 10*time.Second, 20*time.Second)
		after := all.slowest("critical", 0.5, to-10*time.Second, to)
		t.Logf("half of the calls take %v with what was learned, %v later", before, after)
		require.Less(t, time.Duration(s.methods["critical"].pace.calm), 2*work)
		require.Less(t, after, before) // by how much depends on where the limit's rise and fall is just then
		require.Greater(t, all.goodput("critical", 0, to), 0.97*400)
	})
}

// TestUnevenWorkIsNoOverload: most calls are quick, some take fifty times as
// long; and no more than the server can do.
func TestUnevenWorkIsNoOverload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSimulated(t, impatient())
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, 2))
		work := func(time.Duration) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			length := 0.2 + random.ExpFloat64()
			if random.Float64() < 0.15 {
				length += 10
			}
			return time.Duration(length * float64(10*time.Millisecond))
		}
		all := simulate(t, shedderDoor{s}, newWorkers(20),
			traffic{method: "critical", every: 2 * time.Millisecond, work: work, deadline: time.Second, to: 20 * time.Second})
		for _, a := range all {
			require.False(t, a.shed, "at %v", a.sent)
		}
	})
}

// impatient waits for a tenth of a second: how the limit is found shows in how
// long calls take, and a long wait would hide it.
func impatient() Config {
	cfg := DefaultConfig()
	cfg.MaxWait = 100 * time.Millisecond
	return cfg
}
