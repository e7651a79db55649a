package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// Supervisor keeps one command running: when the process dies, it starts
// another. Someone who is curious may kill it as often as he likes.
type Supervisor struct {
	// Command is what to run.
	Command Command
	// ReadyURL answers 200 when the process can serve.
	ReadyURL string
	// PIDFile is kept up to date with the process's id.
	PIDFile string
	// Notify is told what happens after the first start, in words for a person.
	Notify func(message string)

	mu      sync.Mutex
	current *Process
	stopped bool
	quit    chan struct{}
	done    sync.WaitGroup
}

// Restarts back off from the first pause to the longest; a process that lived
// long enough starts over with the first.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
	longEnough   = 10 * time.Second
)

// Start starts the command and waits until it is ready. A command that dies
// before it was ever ready is an error: it is wrong, not unlucky.
func (s *Supervisor) Start(ctx context.Context) error {
	s.quit = make(chan struct{})
	process, err := s.spawn()
	if err != nil {
		return err
	}
	if err := AwaitReady(ctx, s.ReadyURL, process); err != nil {
		process.Kill()
		return fmt.Errorf("%s: %w", s.Command.Name, err)
	}
	// It is kept for as long as the supervisor is not stopped, whatever becomes
	// of the context of starting it.
	kept := context.WithoutCancel(ctx)
	s.done.Go(func() { s.keep(kept, process) })
	return nil
}

// spawn starts the process unless the supervisor has been stopped.
func (s *Supervisor) spawn() (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, errors.New("stopped")
	}
	process, err := Start(s.Command)
	if err != nil {
		return nil, err
	}
	s.current = process
	if s.PIDFile != "" {
		if err := os.WriteFile(s.PIDFile, []byte(strconv.Itoa(process.PID())+"\n"), 0o644); err != nil {
			s.Notify(fmt.Sprintf("%s: its process id could not be written: %v", s.Command.Name, err))
		}
	}
	return process, nil
}

// keep restarts the process until the supervisor is stopped.
func (s *Supervisor) keep(ctx context.Context, process *Process) {
	pause, started := firstPause, time.Now()
	for {
		select {
		case <-process.Exited():
		case <-s.quit:
			return
		}
		died := time.Now()
		if died.Sub(started) > longEnough {
			pause = firstPause
		}
		s.Notify(fmt.Sprintf("%s died (%s); starting it again", s.Command.Name, ending(process.Err())))
		select {
		case <-time.After(pause):
		case <-s.quit:
			return
		}
		pause, started = min(2*pause, longestPause), time.Now()
		next, err := s.spawn()
		if err != nil {
			s.Notify(err.Error())
			continue // the old one is still dead: the next turn tries again
		}
		process = next
		ready, stop := context.WithTimeout(ctx, time.Minute)
		err = AwaitReady(ready, s.ReadyURL, process)
		stop()
		if err == nil {
			s.Notify(fmt.Sprintf("%s is back after %s, as process %d",
				s.Command.Name, time.Since(died).Round(10*time.Millisecond), process.PID()))
		}
	}
}

// Stop drains the process and starts no other.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.mu.Lock()
	process, first := s.current, !s.stopped
	s.stopped = true
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	if first {
		close(s.quit)
	}
	defer s.done.Wait()
	select {
	case <-process.Exited(): // it died by itself and was about to be started again
		return nil
	default:
		return process.Stop(ctx)
	}
}

// ending says how a process ended.
func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
