package service

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// A worker that fails is started again, later each time.
const (
	firstWorkerPause = time.Second
	lastWorkerPause  = 30 * time.Second
)

// workforce runs the workers, and stops and restarts them all.
type workforce struct {
	workers    []Worker
	log        *slog.Logger
	firstPause time.Duration // firstWorkerPause if zero; tests are in a hurry

	mu      sync.Mutex
	cancel  context.CancelFunc // nil while stopped
	running *sync.WaitGroup    // of the last start
}

// start starts all workers, unless they run. Those that are still stopping
// finish first. They outlive ctx.
func (w *workforce) start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		return
	}
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	before, now := w.running, &sync.WaitGroup{}
	w.running = now
	for _, worker := range w.workers {
		now.Go(func() {
			if before != nil {
				before.Wait()
			}
			w.keep(ctx, worker)
		})
	}
}

// stop tells all workers to stop claiming work, at once. What it returns waits
// until they have finished or released what they had; when its ctx ends they
// are left behind, and that is an error.
func (w *workforce) stop() (released func(ctx context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
	running := w.running
	return func(ctx context.Context) error {
		if running == nil {
			return nil
		}
		done := make(chan struct{})
		go func() {
			running.Wait()
			close(done)
		}()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d workers to release what they have claimed: %w", len(w.workers), ctx.Err())
		}
	}
}

// keep runs one worker until ctx ends.
func (w *workforce) keep(ctx context.Context, worker Worker) {
	first := cmp.Or(w.firstPause, firstWorkerPause)
	pause := first
	for {
		began := time.Now()
		err := runWorker(ctx, worker)
		if ctx.Err() != nil {
			if err != nil {
				w.log.Warn("a worker did not stop cleanly", "worker", worker.Name, "error", err)
			}
			return
		}
		if time.Since(began) > lastWorkerPause {
			pause = first
		}
		w.log.Error("a worker ended and is started again", "worker", worker.Name, "error", err, "next_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastWorkerPause)
	}
}

// counted returns workers that count themselves while they work: 1 for each that
// does, 0 for one that is stopped, pauses, or waits to be started again.
func counted(ctx context.Context, workers []Worker) []Worker {
	working, err := otel.Meter("github.com/holdfast-dev/holdfast/pkg/service").
		Int64UpDownCounter("holdfast_workers_working", metric.WithDescription("Workers of the process that work now."))
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return workers
	}
	all := make([]Worker, len(workers))
	for i, w := range workers {
		is := metric.WithAttributes(attribute.String("worker", w.Name))
		working.Add(ctx, 0, is) // a worker that never worked is shown, too
		all[i] = Worker{Name: w.Name, Run: func(ctx context.Context) error {
			working.Add(ctx, 1, is)
			defer working.Add(context.WithoutCancel(ctx), -1, is)
			return w.Run(ctx)
		}}
	}
	return all
}

// runWorker runs a worker once and makes an error of a panic.
func runWorker(ctx context.Context, worker Worker) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return worker.Run(ctx)
}
