package service

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"
)

// slot is the colour of a blue/green deployment that a process belongs to. Both
// colours serve whoever calls them, but only the active one works by itself: what
// an idle colour would do to real data, nobody has released yet. Which one is
// active is written in a file, a mounted ConfigMap, because the answer must
// reach processes that run, and hold for those that are started later.
type slot struct {
	name, file string
	log        *slog.Logger
	every      time.Duration // recheckSlot if zero; tests are in a hurry
}

// recheckSlot is how often the file is read. It is one small read of memory.
const recheckSlot = time.Second

// gate returns workers that work while the slot is the active one. Without a
// slot they are as they were.
func (s slot) gate(workers []Worker) []Worker {
	if s.name == "" {
		return workers
	}
	gated := make([]Worker, len(workers))
	for i, w := range workers {
		gated[i] = Worker{Name: w.Name, Run: func(ctx context.Context) error { return s.run(ctx, w) }}
	}
	return gated
}

// run runs the worker whenever the slot is active, until ctx ends.
func (s slot) run(ctx context.Context, w Worker) error {
	active := false
	for {
		if !s.await(ctx, &active, true) {
			return nil // told to stop while idle
		}
		s.log.Info("this slot is active: the worker works", "worker", w.Name, "slot", s.name)
		working, pause := context.WithCancel(ctx)
		watched := make(chan struct{})
		go func() { // ends when the slot is idle or ctx has ended
			defer close(watched)
			defer pause()
			s.await(working, &active, false)
		}()
		err := w.Run(working)
		pause()
		<-watched
		if err != nil || ctx.Err() != nil {
			return err
		}
		s.log.Info("this slot is idle: the worker pauses", "worker", w.Name, "slot", s.name)
	}
}

// await waits until the slot is active, or no longer, and returns false if ctx
// ends first. A file that cannot be read changes nothing.
func (s slot) await(ctx context.Context, active *bool, want bool) bool {
	every := s.every
	if every == 0 {
		every = recheckSlot
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if content, err := os.ReadFile(s.file); err == nil {
			*active = strings.TrimSpace(string(content)) == s.name
		}
		if *active == want {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
