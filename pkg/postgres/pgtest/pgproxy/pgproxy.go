// Package pgproxy stands between a program and PostgreSQL in tests. It passes the
// messages of the protocol on one by one, knows which statements each round trip
// executes, counts the round trips, and can cut a connection in front of any message.
package pgproxy

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy is the way to one server. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	server   string
	working  sync.WaitGroup

	door sync.RWMutex // held while nobody is let in

	mu    sync.Mutex
	open  map[*connection]struct{}
	armed *cut
	trips []Trip
}

// Trip is one round trip: what a client sends up to a Sync or a simple Query, and
// what the server answers to that. Outside of a transaction block it is one
// transaction.
type Trip struct {
	// Statements are those that it executes, as their texts.
	Statements []string
	// Failed says that the server answered with an error.
	Failed bool
}

// cut is where a connection is to be cut.
type cut struct {
	left       int
	fromServer bool
	of         func(Trip) bool
}

// New returns a proxy and the URL of the database by way of it. It ends with the
// test.
func New(t testing.TB, databaseURL string) (p *Proxy, throughProxy string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	p = &Proxy{server: u.Host, open: map[*connection]struct{}{}}
	var listen net.ListenConfig
	p.listener, err = listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx := context.WithoutCancel(t.Context()) // it ends in the cleanup, which is later
	p.working.Go(func() { p.accept(ctx) })
	t.Cleanup(func() {
		p.listener.Close()
		p.mu.Lock()
		for c := range p.open {
			c.close()
		}
		p.mu.Unlock()
		p.working.Wait()
	})
	u.Host = p.listener.Addr().String()
	query := u.Query()
	query.Set("sslmode", "disable") // what is encrypted cannot be told apart
	u.RawQuery = query.Encode()
	return p, u.String()
}

// CutBefore cuts the connection that carries the message number n, from zero, in
// front of that message. Those count that go in one direction, on all connections
// together, and belong to round trips of which the function is true; nil for all.
// It happens once.
func (p *Proxy) CutBefore(n int, fromServer bool, of func(Trip) bool) {
	p.mu.Lock()
	p.armed = &cut{n, fromServer, of}
	p.mu.Unlock()
}

// Armed reports whether a cut is still to come.
func (p *Proxy) Armed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.armed != nil
}

// Hold lets new connections wait until release is called.
func (p *Proxy) Hold() (release func()) {
	p.door.Lock()
	return p.door.Unlock
}

// Disarm cuts nothing any more, and reports whether what was asked for was cut.
func (p *Proxy) Disarm() (happened bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	happened = p.armed == nil
	p.armed = nil
	return happened
}

// Trips returns the round trips that have ended since it was last called.
func (p *Proxy) Trips() []Trip {
	p.mu.Lock()
	defer p.mu.Unlock()
	trips := p.trips
	p.trips = nil
	return trips
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		var dial net.Dialer
		p.door.RLock()
		server, err := dial.DialContext(ctx, "tcp", p.server)
		p.door.RUnlock()
		if err != nil {
			client.Close()
			continue
		}
		c := &connection{proxy: p, client: client, server: server, prepared: map[string]string{}}
		p.mu.Lock()
		p.open[c] = struct{}{}
		p.mu.Unlock()
		p.working.Go(func() { c.pass(server, client, false) })
		p.working.Go(func() { c.pass(client, server, true) })
	}
}

// connection is one client's.
type connection struct {
	proxy          *Proxy
	client, server net.Conn
	// Guarded by the proxy's lock.
	prepared map[string]string // statements by name
	trip     *Trip             // under way
}

func (c *connection) close() {
	c.client.Close()
	c.server.Close()
}

// pass copies messages until either side ends. The client's first message, the
// start-up, is the only one without a type.
func (c *connection) pass(to, from net.Conn, fromServer bool) {
	defer func() {
		c.close()
		c.proxy.mu.Lock()
		delete(c.proxy.open, c)
		c.proxy.mu.Unlock()
	}()
	for first := !fromServer; ; first = false {
		message, err := read(from, first)
		if err != nil {
			return
		}
		if !first && c.proxy.cuts(c, message, fromServer) {
			return // instead of passing it on
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

func read(from io.Reader, first bool) ([]byte, error) {
	header := make([]byte, 5)
	if first {
		header = header[:4]
	}
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint32(header[len(header)-4:]))
	message := slices.Grow(header, length)[:len(header)+length-4]
	_, err := io.ReadFull(from, message[len(header):])
	return message, err
}

// cuts takes a message into account, and reports whether the connection is to be cut
// in front of it.
func (p *Proxy) cuts(c *connection, message []byte, fromServer bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fromServer {
		if message[0] == 'E' && c.trip != nil {
			c.trip.Failed = true
		}
	} else {
		c.sent(message[0], message[5:])
	}
	if p.armed != nil && p.armed.fromServer == fromServer && (p.armed.of == nil || c.trip != nil && p.armed.of(*c.trip)) {
		if p.armed.left == 0 {
			p.armed = nil
			return true
		}
		p.armed.left--
	}
	if fromServer && message[0] == 'Z' && c.trip != nil { // ReadyForQuery
		p.trips = append(p.trips, *c.trip)
		c.trip = nil
	}
	return false
}

// sent reads what a client sends.
func (c *connection) sent(kind byte, body []byte) {
	if c.trip == nil {
		c.trip = &Trip{}
	}
	switch kind {
	case 'P': // Parse: name, statement
		name, rest := text(body)
		c.prepared[name], _ = text(rest)
	case 'B': // Bind: portal, name of the statement
		_, rest := text(body)
		name, _ := text(rest)
		c.trip.Statements = append(c.trip.Statements, c.prepared[name])
	case 'Q': // Query
		statement, _ := text(body)
		c.trip.Statements = append(c.trip.Statements, statement)
	}
}

// text reads a string that ends with a zero byte.
func text(body []byte) (string, []byte) {
	end := slices.Index(body, 0)
	if end < 0 {
		return string(body), nil
	}
	return string(body[:end]), body[end+1:]
}
