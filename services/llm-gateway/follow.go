package llmgateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/dispatch"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// sink is where a stream goes, in the client's protocol.
type sink interface {
	// send passes an event on. It keeps what a repeat will be told even if the client
	// has left; an error means that it has. More says that the next event is there
	// already.
	send(e dispatch.Event, more, left bool) error
	// ping tells the client that the stream lives.
	ping() error
	// kept is what a repeat will be told; nil if that is too much to keep.
	kept() *ledger.Stored
}

// errReplicaLeaves is what the client of a stream is told that lasts longer than a
// drain may.
var errReplicaLeaves = apierror.New(apierror.ReasonGenerationInterrupted,
	"this replica is leaving, and the answer took longer than it can wait; what had come is paid for")

// follow passes a stream on to its end, and books it. What is left to tell the
// client is its last event, which it may only have once the answer is booked: finish
// sends that. An error is why there is none; it is typed.
//
//	client leaves ──▶ cancel: the provider is broken off
//	                  drain:  read on for a while, for an exact bill
//	                  detach: read on to the end, and keep the answer for a repeat
//	replica leaves ─▶ broken off, and told so
func (x *exchange) follow(ctx context.Context, to sink) (last []byte, err error) {
	f := &following{exchange: x, sink: to}
	stop := f.watch(ctx)
	last, err = f.run()
	stop()
	_ = x.Stream.Close() // it is at its end, or broken off here
	o := x.Stream.Outcome()
	switch {
	case err == nil:
		x.close(ctx, o, to.kept())
		return last, nil
	case f.leaving.Load():
		o.Error = "the replica left"
		err = errReplicaLeaves
	default:
		err = typed(err)
	}
	x.close(ctx, o, nil)
	return nil, err
}

// following is a stream that is passed on. The goroutine that reads it and the one
// that watches over it both write to the client.
type following struct {
	*exchange
	sink
	leaving atomic.Bool // the replica is

	mu      sync.Mutex
	left    bool      // the client has
	sent    time.Time // when it was sent something
	bounded *time.Timer
}

// run reads the stream to its end and returns its last event.
func (f *following) run() (last []byte, err error) {
	for {
		e, err := f.Stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return nil, err
		case e.Kind == wire.End:
			last = append([]byte{}, e.Raw...)
		}
		if !f.pass(e) {
			return nil, context.Canceled
		}
	}
}

// pass passes an event on, and reports whether to go on.
func (f *following) pass(e dispatch.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.send(e, f.Stream.Ready(), f.left)
	f.sent = time.Now()
	if err != nil {
		f.leave()
	}
	return !f.left || f.ask.route.Disconnect != routes.Cancel
}

// leave notes that the client has left. The caller holds mu.
func (f *following) leave() {
	if f.left {
		return
	}
	f.left = true
	if f.ask.route.Disconnect == routes.Drain {
		f.bounded = time.AfterFunc(f.ask.route.DrainBound, f.Stream.Interrupt)
	}
}

// watch sees to what happens while nothing comes, until stop is called.
func (f *following) watch(ctx context.Context) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	f.sent = time.Now()
	go func() { // stop waits for it
		defer close(ended)
		tick := time.NewTicker(f.cfg.KeepAlive)
		defer tick.Stop()
		cutOff, gone := service.CutOff(ctx), ctx.Done()
		for {
			select {
			case <-done:
				return
			case <-cutOff:
				cutOff = nil
				f.leaving.Store(true)
				f.Stream.Interrupt()
			case <-gone:
				gone = nil
				f.mu.Lock()
				f.leave()
				f.mu.Unlock()
			case <-tick.C:
				f.keepAlive()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.bounded != nil {
			f.bounded.Stop()
		}
	}
}

// keepAlive pings a client that has heard nothing for a while.
func (f *following) keepAlive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left || time.Since(f.sent) < f.cfg.KeepAlive {
		return
	}
	if f.ping() != nil {
		f.leave()
	}
	f.sent = time.Now()
}
