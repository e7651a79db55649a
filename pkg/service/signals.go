package service

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

var errSecondSignal = errors.New("a second signal came")

// interrupts returns a context that ends with ctx or the first SIGTERM or
// SIGINT, which asks to drain, and one that ends with the second, which does
// not want to wait for it.
func interrupts(ctx context.Context) (drain, force context.Context, stop func()) {
	drain, beginDrain := context.WithCancel(ctx)
	force, beginForce := context.WithCancelCause(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for _, then := range []func(){beginDrain, func() { beginForce(errSecondSignal) }} {
			select {
			case <-signals:
				then()
			case <-stopped:
				return
			}
		}
	})
	return drain, force, func() {
		signal.Stop(signals)
		close(stopped)
		watching.Wait()
		beginDrain()
		beginForce(nil)
	}
}
