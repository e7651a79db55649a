package drill

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Balancer plays the part that kube-proxy plays in Kubernetes: it spreads new
// TCP connections over the replicas that are published as ready, knows nothing
// of the requests on them, and leaves an established connection where it is
// until one of its ends closes it. When the replica it picked refuses, the
// client is reset: there is no second try.
type Balancer struct {
	listener  net.Listener
	endpoints *Endpoints
	address   func(Replica) string

	mu     sync.Mutex
	random *rand.Rand
	open   map[net.Conn]struct{}
	closed bool
	work   sync.WaitGroup
}

// NewBalancer listens on a loopback port of its own and sends each connection
// to address of a ready replica, picked at random.
func NewBalancer(ctx context.Context, endpoints *Endpoints, address func(Replica) string, seed uint64) (*Balancer, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the balancer: %w", err)
	}
	b := &Balancer{
		listener:  listener,
		endpoints: endpoints,
		address:   address,
		random:    rand.New(rand.NewPCG(seed, 0)), // reproducible on purpose
		open:      map[net.Conn]struct{}{},
	}
	b.work.Go(b.accept)
	return b, nil
}

// Addr is where clients connect to.
func (b *Balancer) Addr() string { return b.listener.Addr().String() }

// Close closes the listener and every connection.
func (b *Balancer) Close() {
	b.mu.Lock()
	b.closed = true
	b.listener.Close()
	for conn := range b.open {
		conn.Close()
	}
	b.mu.Unlock()
	b.work.Wait()
}

func (b *Balancer) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.work.Go(func() { b.carry(client) })
	}
}

// carry moves bytes both ways until both sides are done.
func (b *Balancer) carry(client net.Conn) {
	defer b.forget(client)
	if !b.remember(client) {
		return
	}
	ready := b.endpoints.Ready()
	if len(ready) == 0 {
		reset(client)
		return
	}
	b.mu.Lock()
	picked := ready[b.random.IntN(len(ready))]
	b.mu.Unlock()
	server, err := net.DialTimeout("tcp", b.address(picked), time.Second) //nolint:noctx // bounded, and Close does not wait for more
	if err != nil {
		reset(client)
		return
	}
	defer b.forget(server)
	if !b.remember(server) {
		return
	}
	var upstream sync.WaitGroup
	upstream.Go(func() { pipe(server, client) })
	pipe(client, server)
	upstream.Wait()
}

// pipe copies one direction and then passes on how it ended: a close as a
// close, so that the other direction goes on, and a reset as a reset.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to)
		reset(from)
		return
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the other side may be gone already
	}
}

// reset closes the connection so that its other end gets an RST.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: a plain close is the alternative
	}
	conn.Close()
}

func (b *Balancer) remember(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open[conn] = struct{}{}
	}
	return !b.closed
}

func (b *Balancer) forget(conn net.Conn) {
	b.mu.Lock()
	delete(b.open, conn)
	b.mu.Unlock()
	conn.Close()
}
