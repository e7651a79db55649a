package shed

import (
	"log/slog"
	"sync"
	"time"
)

// episode is a time of shedding: from a first refusal until there was none for a
// while. One line is logged when it begins and one when it is over, never one a
// call: an overload is the worst time to write more.
type episode struct {
	on      bool
	closed  bool
	began   time.Time
	last    time.Time // of the refusals
	refused [len(levels)]int64
	timer   *time.Timer
	running sync.WaitGroup // the timer's function, from when it is set
}

// calmFor is how long nothing must be refused for an episode to be over.
const calmFor = 5 * time.Second

// note takes a refusal into account, with the lock, and reports whether shedding
// begins with it.
func (s *Shedder) note(now time.Time, l level) (begins bool) {
	e := &s.episode
	e.last = now
	if !e.on && !e.closed {
		e.on, e.began, e.refused = true, now, [len(levels)]int64{}
		begins = true
		e.running.Add(1)
		e.timer = time.AfterFunc(calmFor, s.lookForEnd)
	}
	e.refused[l]++
	return begins
}

// lookForEnd ends the episode, or comes back when it could have ended.
func (s *Shedder) lookForEnd() {
	s.mu.Lock()
	e := &s.episode
	left := calmFor - time.Since(e.last)
	if left > 0 && !e.closed {
		e.timer.Reset(left)
		s.mu.Unlock()
		return
	}
	e.on = false
	took, refused, limit := e.last.Sub(e.began), e.refused, s.limit.calls()
	s.mu.Unlock()
	defer e.running.Done()
	s.log.Info("no longer shedding load", "took", took.Round(time.Millisecond).String(), "limit", limit, slog.Group("refused", byLevel(refused)...))
}

// byLevel names counts for the log.
func byLevel(counts [len(levels)]int64) []any {
	var named []any
	for l, n := range counts {
		named = append(named, slog.Int64(levels[l].name, n))
	}
	return named
}

// closeEpisode stops looking, and returns when nobody looks any more.
func (s *Shedder) closeEpisode() {
	s.mu.Lock()
	e := &s.episode
	e.closed = true
	if e.timer != nil && e.timer.Stop() {
		e.running.Done()
	}
	s.mu.Unlock()
	e.running.Wait()
}
