package trap

import (
	"os"
	"sync/atomic"
	"time"
)

// Trap does something to the process that comes to a point.
type Trap struct {
	point  Point
	do     func()
	most   int64 // how often, each after another N
	passed atomic.Int64
}

// Die ends the process as a machine that is lost does: no deferred call runs, no
// byte is flushed.
func Die(p Point) *Trap { return &Trap{point: p, do: kill, most: 1} }

func kill() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // until it has arrived
}

// Stall holds every Nth request up at the point, as a long pause of the garbage
// collector or of the machine does, and lets it go on as if nothing had been; a few
// of them, so that what was held up can be seen to recover.
func Stall(p Point, d time.Duration) *Trap {
	return &Trap{point: p, do: func() { time.Sleep(d) }, most: mostStalls}
}

const mostStalls = 3

// pass says that the process is at one side of a step.
func (t *Trap) pass(step Step, after bool) {
	if step != t.point.Step || after != t.point.After {
		return
	}
	if n := t.passed.Add(1); n%t.point.Nth == 0 && n/t.point.Nth <= t.most {
		t.do()
	}
}
