package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Link is the network between two parts of the platform: a TCP proxy that knows
// nothing of what it carries, and that can be broken in the three ways in which
// networks break. Cut: every connection is reset, and so is each new one. Frozen:
// nothing arrives and nothing is closed, as behind a firewall that drops packets.
// Slow: what comes back comes later. It may be used by any number of goroutines.
type Link struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the state changes
	cut     bool
	frozen  bool
	delay   time.Duration
	closed  bool
	open    map[net.Conn]struct{}
}

// NewLink listens on a loopback port of its own and carries each connection to
// the target.
func NewLink(ctx context.Context, target string) (*Link, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a link to %s: %w", target, err)
	}
	l := &Link{listener: listener, target: target, changed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	l.work.Go(l.accept)
	return l, nil
}

// Addr is where to connect to.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut resets every connection, and each that is opened until [Link.Heal].
func (l *Link) Cut() {
	l.change(func() {
		l.cut = true
		for conn := range l.open {
			reset(conn)
		}
	})
}

// Freeze lets nothing through until [Link.Heal], when it goes on where it was.
func (l *Link) Freeze() { l.change(func() { l.frozen = true }) }

// Slow has everything that comes back from the target arrive that much later.
func (l *Link) Slow(delay time.Duration) { l.change(func() { l.delay = delay }) }

// Heal undoes all of it; what was held back arrives at once.
func (l *Link) Heal() { l.change(func() { l.cut, l.frozen, l.delay = false, false, 0 }) }

// Close closes the listener and every connection.
func (l *Link) Close() {
	l.change(func() {
		l.closed = true
		l.listener.Close()
		for conn := range l.open {
			conn.Close()
		}
	})
	l.work.Wait()
}

func (l *Link) change(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.work.Go(func() { l.carry(client) })
	}
}

// carry moves bytes both ways until both sides are done.
func (l *Link) carry(client net.Conn) {
	defer l.forget(client)
	if !l.remember(client) {
		reset(client)
		return
	}
	server, err := net.DialTimeout("tcp", l.target, time.Second) //nolint:noctx // bounded, and Close does not wait for more
	if err != nil {
		reset(client)
		return
	}
	defer l.forget(server)
	if !l.remember(server) {
		reset(client)
		reset(server)
		return
	}
	var there sync.WaitGroup
	there.Go(func() { l.move(server, client, false) })
	l.move(client, server, true)
	there.Wait()
}

// parcel is bytes on their way. No bytes are the end of them: a close, or the
// error with which the line broke.
type parcel struct {
	bytes []byte
	read  time.Time
	err   error
}

// move carries one direction. Reading and writing are apart, so that a slow link
// is one with a latency and not one with a small bandwidth.
func (l *Link) move(to, from net.Conn, back bool) {
	parcels := make(chan parcel, 64)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(parcels)
		for {
			buffer := make([]byte, 32<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				parcels <- parcel{bytes: buffer[:n], read: time.Now()}
			}
			if err != nil {
				parcels <- parcel{read: time.Now(), err: err}
				return
			}
		}
	})
	for p := range parcels {
		l.await(p, back)
		if err := deliver(to, p); err != nil {
			reset(to)
			reset(from) // which ends the reading
		}
	}
	reading.Wait()
}

// deliver passes on bytes, a close as a close, and a reset as a reset.
func deliver(to net.Conn, p parcel) error {
	if p.err == nil {
		_, err := to.Write(p.bytes)
		return err
	}
	if !errors.Is(p.err, io.EOF) {
		return p.err
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the other side may be gone already
	}
	return nil
}

// await waits until the parcel may arrive.
func (l *Link) await(p parcel, back bool) {
	for {
		l.mu.Lock()
		changed, wait := l.changed, time.Duration(0)
		through := l.closed || l.cut
		if back {
			wait = time.Until(p.read.Add(l.delay))
		}
		frozen := l.frozen
		l.mu.Unlock()
		switch {
		case through || !frozen && wait <= 0:
			return
		case frozen:
			<-changed
		default:
			timer := time.NewTimer(wait)
			select {
			case <-changed:
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

func (l *Link) remember(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.cut {
		return false
	}
	l.open[conn] = struct{}{}
	return true
}

func (l *Link) forget(conn net.Conn) {
	l.mu.Lock()
	delete(l.open, conn)
	l.mu.Unlock()
	conn.Close()
}
