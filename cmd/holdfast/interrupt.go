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

// interrupts returns two contexts: the first ends with the first Ctrl-C, SIGTERM
// or closed terminal, which asks to drain, the second with the second one, which
// does not want to wait for it. A reader of the output that goes away, as `head`
// does, ends nothing: it would leave a database behind that nobody stopped.
func interrupts(ctx context.Context) (drain, force context.Context, stop func()) {
	force, endForce := context.WithCancelCause(ctx)
	drain, endDrain := context.WithCancel(force)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	unread := make(chan os.Signal, 1) // not signal.Ignore, which children would inherit
	signal.Notify(unread, syscall.SIGPIPE)
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
		signal.Stop(unread)
		close(stopped)
		watching.Wait()
		endDrain()
		endForce(nil)
	}
}
