package shed

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// Shedder decides which calls of one process are worked on. All its servers
// share it, since they share what is short. Its methods may be called from
// anywhere.
type Shedder struct {
	cfg     Config
	log     *slog.Logger
	methods map[string]*method // by full name; does not change
	unmeter func() error

	mu       sync.Mutex
	limit    limit
	queue    queue
	inFlight int
	counts   [len(levels)][outcomes]int64
	episode  episode
}

// method is what the shedder knows of one method.
type method struct {
	level level
	pace  pace // guarded by the shedder's mu
}

// New returns a Shedder for the methods of a server. What is not among them,
// such as health checks and reflection, is never shed and does not count. Close
// it.
func New(cfg Config, policies *policy.Set, log *slog.Logger) *Shedder {
	s := newShedder(cfg, log)
	for _, m := range policies.All() {
		s.methods[m.FullName] = &method{level: levelOf(m.Criticality)}
	}
	return s
}

func newShedder(cfg Config, log *slog.Logger) *Shedder {
	s := &Shedder{cfg: cfg, log: log, methods: map[string]*method{}, limit: newLimit(cfg, time.Now())}
	s.unmeter = s.measure()
	return s
}

// Close stops the metrics and the log. Calls may still come and leave.
func (s *Shedder) Close() {
	s.closeEpisode()
	if err := s.unmeter(); err != nil {
		s.log.Warn("the metrics of load shedding do not stop", "error", err)
	}
}

// enter lets a call in, at once or after a wait, or refuses it. Whoever was let
// in leaves.
func (s *Shedder) enter(ctx context.Context, m *method) (*call, error) {
	s.mu.Lock()
	now := time.Now()
	if s.inFlight < m.level.room(s.limit.calls()) {
		c := &call{Context: ctx, shedder: s, method: m, entered: now, alongside: s.occupy()}
		s.counts[m.level][acceptedAtOnce]++
		s.mu.Unlock()
		return c, nil
	}
	w, patience, why := s.join(ctx, now, m)
	if w == nil {
		return nil, s.refuse(ctx, now, m.level, why) // unlocks
	}
	s.mu.Unlock()
	return s.wait(ctx, m, w, patience)
}

// occupy takes room for one call and returns how many are in flight with it.
func (s *Shedder) occupy() int {
	s.inFlight++
	s.limit.peak = max(s.limit.peak, s.inFlight)
	return s.inFlight
}

// join puts a call into the queue, and says how long it may wait there; or it
// returns nil, and why the call cannot wait.
func (s *Shedder) join(ctx context.Context, now time.Time, m *method) (*waiter, time.Duration, outcome) {
	if s.cfg.MaxWait == 0 {
		return nil, 0, shedFull
	}
	patience := s.cfg.MaxWait
	if deadline, ok := ctx.Deadline(); ok {
		// What is left after the wait must be enough for the work.
		patience = min(patience, deadline.Sub(now)-time.Duration(m.pace.typical))
		if patience <= 0 {
			return nil, 0, shedDeadline
		}
	}
	class := classOf(m.level, isRetry(ctx))
	if s.queue.length >= s.limit.calls() {
		v := s.queue.victim(now, class)
		if v == nil {
			return nil, 0, shedFull
		}
		s.queue.remove(v)
		v.decided <- false
	}
	return s.queue.add(now, class), patience, 0
}

// wait waits for a call's turn.
func (s *Shedder) wait(ctx context.Context, m *method, w *waiter, patience time.Duration) (*call, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var decided, admitted bool
	select {
	case admitted = <-w.decided:
		decided = true
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	now := time.Now()
	if !decided {
		if w.element != nil {
			s.queue.remove(w)
			return nil, s.refuse(ctx, now, m.level, s.waitedInVain(ctx, patience)) // unlocks
		}
		admitted = <-w.decided // it was decided while the lock was waited for
	}
	if !admitted {
		return nil, s.refuse(ctx, now, m.level, shedOutranked) // unlocks
	}
	if ctx.Err() != nil {
		s.vacate(now)
		return nil, s.refuse(ctx, now, m.level, s.waitedInVain(ctx, patience)) // unlocks
	}
	s.counts[m.level][acceptedAfterWait]++
	s.mu.Unlock()
	return &call{Context: ctx, shedder: s, method: m, entered: w.entered, alongside: w.alongside}, nil
}

// waitedInVain says why a wait ended without a turn.
func (s *Shedder) waitedInVain(ctx context.Context, patience time.Duration) outcome {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return shedGone
	case ctx.Err() != nil || patience < s.cfg.MaxWait:
		return shedDeadline
	default:
		return shedWait
	}
}

// giveBack is vacate for a call that has let go of its place.
func (s *Shedder) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vacate(time.Now())
}

// takeAgain is for a call that comes back from [Outside]: it is in flight again,
// whether or not there is room.
func (s *Shedder) takeAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.occupy()
}

// vacate gives back the room of one call, to who waits for it.
func (s *Shedder) vacate(now time.Time) {
	s.inFlight--
	s.admitWaiting(now)
}

// admitWaiting lets in who waits, as far as there is room.
func (s *Shedder) admitWaiting(now time.Time) {
	for {
		w := s.queue.next(now)
		if w == nil || s.inFlight >= w.class.level().room(s.limit.calls()) {
			return
		}
		s.queue.remove(w)
		w.entered, w.alongside = now, s.occupy()
		w.decided <- true
	}
}

// leave ends a call that was let in. Whole says that it was answered without an
// error.
func (s *Shedder) leave(c *call, whole bool) {
	now := time.Now()
	elapsed := now.Sub(c.entered)
	own := max(elapsed-c.outside(now), 0)
	whole = whole && c.Err() == nil
	has := c.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if has {
		s.inFlight--
	}
	s.limit.learn(now, &c.method.pace, departure{
		entered: c.entered, elapsed: elapsed, own: own, alongside: c.alongside, whole: whole,
	})
	s.admitWaiting(now)
}

// refuse counts a refusal and returns its error. It is called with the lock and
// gives it back: what follows needs none, and the refused are many.
func (s *Shedder) refuse(ctx context.Context, now time.Time, l level, why outcome) error {
	s.counts[l][why]++
	if why == shedGone {
		s.mu.Unlock()
		return ctx.Err()
	}
	s.limit.refused = true
	begins := s.note(now, l)
	limit := s.limit.calls()
	s.mu.Unlock()
	if begins {
		s.log.WarnContext(ctx, "shedding load: more calls than this replica can do", "limit", limit, "first_refused", l.String())
	}
	// Not all at the same time: those who are refused together would come back
	// together.
	return apierror.New(apierror.ReasonOverloaded, "the server has more to do than it can; try again later",
		apierror.WithRetryAfter(retryAfter/2+rand.N(retryAfter)))
}

// retryAfter is when an overload may have passed, on average: RetryInfo is from
// half of it to one and a half.
const retryAfter = time.Second
