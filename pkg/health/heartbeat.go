package health

import "time"

// stuckAfter is how long a heart may be silent before the process counts as
// stuck. Being restarted for a slow moment is worse than being stuck a little
// longer, so it is long.
const stuckAfter = 30 * time.Second

// Beat registers a loop of this process and returns the function that the loop
// calls each time around, at least every few seconds. A loop that stays silent
// for half a minute fails liveness, and the process is restarted.
//
// A loop beats for what it does itself. One that waits for something outside,
// such as a database, would turn that thing's outage into restarts.
func (h *Health) Beat(name string) func() {
	beat := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.beats[name] = h.now()
	}
	beat()
	return beat
}

// stuck returns the names of loops that have been silent for too long. The
// caller holds the lock.
func (h *Health) stuck() []string {
	var names []string
	for name, last := range h.beats {
		if h.now().Sub(last) > stuckAfter {
			names = append(names, name)
		}
	}
	return names
}
