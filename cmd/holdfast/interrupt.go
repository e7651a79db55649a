package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errForced says why a drain was cut short.
var errForced = errors.New("a second interrupt forced it")

// interrupts returns two contexts: the first ends with the first Ctrl-C or
// SIGTERM, which asks to drain, the second with the second one, which does not
// want to wait for it.
func interrupts(ctx context.Context) (drain, force context.Context, stop func()) {
	force, endForce := context.WithCancelCause(ctx)
	drain, endDrain := context.WithCancel(force)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for _, end := range []func(){endDrain, func() { endForce(errForced) }} {
			select {
			case <-signals:
				end()
			case <-stopped:
				return
			}
		}
	})
	return drain, force, func() {
		signal.Stop(signals)
		close(stopped)
		watching.Wait()
		endDrain()
		endForce(nil)
	}
}
