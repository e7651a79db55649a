package service

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// handoff is the listener of one gRPC server behind the [door]: it accepts
// what the door delivers.
type handoff struct {
	addr    net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	pending atomic.Int64 // delivered, and not taken over by the server yet
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// deliver gives the server a connection, or closes it if the server is gone.
func (h *handoff) deliver(conn net.Conn) {
	h.pending.Add(1)
	select {
	case h.conns <- &delivered{Conn: conn, pending: &h.pending}:
	case <-h.closed:
		h.pending.Add(-1)
		_ = conn.Close()
	}
}

// settle waits until the server has taken over every connection it accepted.
// Between accepting one and that, a server that is being stopped closes the
// connection without a word, and a client would see a failure where there
// should be a GOAWAY.
func (h *handoff) settle(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for h.pending.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-h.closed:
			return
		}
	}
}

// Accept returns the next connection.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. The door's listener stays open.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the address of the door.
func (h *handoff) Addr() net.Addr { return h.addr }

// delivered is a connection on its way to a server. Setting the deadline of
// the handshake is the first thing that a server does with one it keeps.
type delivered struct {
	net.Conn
	pending *atomic.Int64
	taken   atomic.Bool
}

// SetDeadline notes that the server has the connection.
func (c *delivered) SetDeadline(t time.Time) error {
	c.take()
	return c.Conn.SetDeadline(t)
}

// Close notes that the server is done with the connection.
func (c *delivered) Close() error {
	c.take()
	return c.Conn.Close()
}

func (c *delivered) take() {
	if c.taken.CompareAndSwap(false, true) {
		c.pending.Add(-1)
	}
}
