package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// door is the public gRPC listener, and the server behind it, which can be
// replaced.
//
// grpc-go exports no GOAWAY, and a server that was stopped gracefully cannot
// serve again. So the listener is ours: to empty a replica that goes on
// running, a new server is put behind the listener and the old one is stopped
// gracefully, which sends GOAWAY to its connections. No connection is refused
// meanwhile.
type door struct {
	listener net.Listener
	build    func(endings) *grpc.Server
	// lead is how long before what is left is cut off it is told so.
	lead    time.Duration
	log     *slog.Logger
	accepts sync.WaitGroup // the accept loop
	leaving sync.WaitGroup // generations that are being stopped

	mu      sync.Mutex // held while a connection is handed over
	current *generation
	closed  bool
}

// generation is one server behind the door.
type generation struct {
	server   *grpc.Server
	handoff  *handoff
	draining chan struct{} // closed when its streams should end
	drainNow sync.Once
	cutOff   chan struct{} // closed when what is left is about to be cut off
	lead     time.Duration // before that
	served   chan struct{} // closed when Serve has returned
}

// openDoor serves on the listener with a server from build.
func openDoor(listener net.Listener, build func(endings) *grpc.Server, lead time.Duration, log *slog.Logger) *door {
	d := &door{listener: listener, build: build, lead: lead, log: log}
	d.current = d.serve()
	d.accepts.Go(d.accept)
	return d
}

// serve starts a new generation.
func (d *door) serve() *generation {
	g := &generation{
		handoff:  newHandoff(d.listener.Addr()),
		draining: make(chan struct{}),
		cutOff:   make(chan struct{}),
		lead:     d.lead,
		served:   make(chan struct{}),
	}
	g.server = d.build(endings{g.draining, g.cutOff})
	go func() { // ends when the server is stopped, which waits for it
		defer close(g.served)
		if err := g.server.Serve(g.handoff); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			d.log.Error("the gRPC server ended", "error", err)
		}
	}()
	return g
}

// accept hands each connection to the server that is current.
func (d *door) accept() {
	for pause := time.Duration(0); ; {
		conn, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			d.log.Warn("accepting a connection failed", "error", err, "next_in", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		d.mu.Lock()
		d.current.handoff.deliver(conn)
		d.mu.Unlock()
	}
}

func (g *generation) endStreams() { g.drainNow.Do(func() { close(g.draining) }) }

// swap puts a new server behind the door and drains the old one: its streams
// are told to end, its connections get GOAWAY, its calls finish. After limit
// what is left is cut off. It returns at once; the channel gives whether it had
// to be cut off. The end of ctx changes nothing: who asked may leave.
func (d *door) swap(ctx context.Context, limit time.Duration) <-chan bool {
	result := make(chan bool, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		result <- false
		return result
	}
	old := d.current
	d.current = d.serve()
	d.leaving.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		result <- old.stop(ctx)
	})
	return result
}

// close refuses new connections, drains the current server, and waits for it
// and for those that were replaced before. When ctx ends, what is left is cut
// off, and close reports true.
func (d *door) close(ctx context.Context) (forced bool) {
	_ = d.listener.Close() // it can only be closed already
	d.accepts.Wait()
	d.mu.Lock()
	d.closed = true
	last := d.current
	d.mu.Unlock()
	forced = last.stop(ctx)
	d.leaving.Wait()
	return forced
}

// goAwayFirst is how long before its streams end a server begins to stop. A client
// goes on with a stream at once, and should know by then that it needs another
// connection. gRPC does not tell when it has sent its GOAWAY.
const goAwayFirst = 50 * time.Millisecond

// stop drains one server: GracefulStop, and Stop when ctx ends. It is called once.
func (g *generation) stop(ctx context.Context) (forced bool) {
	defer beforeEnd(ctx, g.lead, func() { close(g.cutOff) })()
	g.handoff.settle(ctx)
	graceful := make(chan struct{})
	go func() { // ends with Stop at the latest
		defer close(graceful)
		g.server.GracefulStop()
	}()
	select {
	case <-graceful: // there was no stream
	case <-ctx.Done():
	case <-time.After(goAwayFirst):
	}
	g.endStreams()
	select {
	case <-graceful:
	case <-ctx.Done():
		forced = true
		go g.server.Stop() // cancels the handlers; waits for them in vain if they do not listen
		select {
		case <-graceful:
		case <-time.After(stubbornHandlers):
			return true
		}
	}
	<-g.served
	return forced
}

// stubbornHandlers is how long handlers that were cancelled may go on before
// they are left behind.
const stubbornHandlers = time.Second
