package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// Leave ends the stream of a caller that left, as its route says: at once, or
// after it has been read on. Settled is called once with how it ended, before
// Leave returns or later on another goroutine; until then the dispatcher owns the
// stream.
func (s *Stream) Leave(settled func(Outcome)) {
	switch route := s.f.w.request.Route; route.Disconnect {
	case routes.Drain:
		s.Detach(route.DrainBound, settled)
	case routes.Detach:
		s.Detach(0, settled)
	default:
		s.close()
		settled(s.Outcome())
	}
}

// Detach hands the stream to the dispatcher, which reads on for at most so long,
// zero for as long as the route's timeouts allow, to learn what it costs, and then
// ends it. Settled is called once with that, on another goroutine. [Dispatcher.Close] waits
// for it.
//
// Of a route that cancels, a caller whose context has ended has no stream to hand
// over any more.
func (s *Stream) Detach(bound time.Duration, settled func(Outcome)) {
	d := s.f.w.d
	if s.err != nil || !d.detached.add(s) {
		s.close()
		settled(s.Outcome())
		return
	}
	s.f.w.life.unfollow()
	go func() {
		defer d.detached.remove(s)
		if bound > 0 {
			timer := time.AfterFunc(bound, func() { s.f.w.life.cancel(causeCaller) })
			defer timer.Stop()
		}
		for s.read <= d.options.MaxDetached {
			if _, err := s.Next(); err != nil {
				break
			}
		}
		s.close()
		settled(s.Outcome())
	}()
}

// detached are the streams that the dispatcher owns.
type detached struct {
	mu      sync.Mutex
	streams map[*Stream]struct{}
	closed  bool
	running sync.WaitGroup
}

func (d *detached) init() { d.streams = map[*Stream]struct{}{} }

// add reports false if the dispatcher is closed.
func (d *detached) add(s *Stream) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.streams[s] = struct{}{}
	d.running.Add(1)
	return true
}

func (d *detached) remove(s *Stream) {
	d.mu.Lock()
	delete(d.streams, s)
	d.mu.Unlock()
	d.running.Done()
}

// close waits for all, and breaks them off when the context ends.
func (d *detached) close(ctx context.Context) {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for s := range d.streams {
			s.f.w.life.cancel(causeCaller)
		}
	})
	d.running.Wait()
	stop()
}
