package idempotency_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// proxy passes PostgreSQL messages on one by one, and can cut all connections
// at a chosen one.
type proxy struct {
	listener net.Listener
	server   string
	working  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn

	// closed, while it is held, keeps new connections waiting.
	closed sync.Mutex

	// left counts down the messages until the cut in one direction; it is
	// negative when nothing is to be cut.
	left       atomic.Int64
	fromServer atomic.Bool
	passed     atomic.Int64
}

// throughProxy returns the URL of a database by way of a proxy.
func throughProxy(t *testing.T, databaseURL string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	p := &proxy{server: u.Host}
	p.left.Store(-1)
	p.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.working.Go(p.accept)
	t.Cleanup(func() {
		p.listener.Close()
		p.cut()
		p.working.Wait()
	})
	u.Host = p.listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.closed.Lock()
		server, err := net.Dial("tcp", p.server)
		p.closed.Unlock()
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.working.Go(func() { p.pass(server, client, false) })
		p.working.Go(func() { p.pass(client, server, true) })
	}
}

// pass copies messages until either side ends. The client's first message, the
// start-up, is the only one without a type.
func (p *proxy) pass(to, from net.Conn, fromServer bool) {
	defer to.Close()
	defer from.Close()
	for first := !fromServer; ; first = false {
		header := make([]byte, 5)
		if first {
			header = header[:4]
		}
		if _, err := io.ReadFull(from, header); err != nil {
			return
		}
		length := binary.BigEndian.Uint32(header[len(header)-4:])
		message := make([]byte, len(header)+int(length)-4)
		copy(message, header)
		if _, err := io.ReadFull(from, message[len(header):]); err != nil {
			return
		}
		if p.fromServer.Load() == fromServer {
			p.passed.Add(1)
			if p.left.Load() >= 0 && p.left.Add(-1) < 0 {
				p.cut() // instead of passing this one on
				return
			}
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// cutAfter passes n more messages in one direction and then cuts.
func (p *proxy) cutAfter(n int64, fromServer bool) {
	p.fromServer.Store(fromServer)
	p.passed.Store(0)
	p.left.Store(n)
}

// onePool connects with a single connection, so that what the proxy sees is one
// write and nothing else.
func onePool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(t.Context()), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}
