package pgtest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
)

// Server is a PostgreSQL server for one test, which may do to it what it
// likes. It ends with the test.
type Server struct {
	// URL connects to the server; it names no database.
	URL string

	t      testing.TB
	server *embedded.Server
	host   *host
	disk   *smallDisk
}

// Option changes a dedicated server.
type Option func(*dedication)

type dedication struct {
	settings  map[string]string
	smallDisk bool
}

// WithSetting sets a setting of the server, such as max_wal_size.
func WithSetting(name, value string) Option {
	return func(d *dedication) { d.settings[name] = value }
}

// WithMaxConnections lets the server accept n connections of ordinary users
// and of its superuser together: none is kept in reserve.
func WithMaxConnections(n int) Option {
	return func(d *dedication) {
		d.settings["max_connections"] = strconv.Itoa(n)
		d.settings["superuser_reserved_connections"] = "0"
		d.settings["max_wal_senders"] = "0"
	}
}

// WithSmallDisk gives the server's databases a disk that FillDisk can fill.
func WithSmallDisk() Option { return func(d *dedication) { d.smallDisk = true } }

// Dedicated starts a server for t alone. Unlike the shared one it keeps what
// it committed through Kill, so that tests can rely on durability. It is
// always a local process, because a container changes its port when it is
// restarted.
func Dedicated(t testing.TB, opts ...Option) *Server {
	t.Helper()
	d := dedication{settings: map[string]string{}}
	for _, opt := range opts {
		opt(&d)
	}
	ctx, cancel := bound()
	defer cancel()
	server, err := embedded.Start(ctx, throwAway(d.settings))
	if err != nil {
		t.Fatalf("pgtest: starting a dedicated server: %v", err)
	}
	s := &Server{URL: server.URL(), t: t, server: server, host: newHost(server.URL())}
	t.Cleanup(func() {
		ctx, cancel := bound()
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("pgtest: stopping a dedicated server: %v", err)
		}
	})
	if d.smallDisk {
		s.disk = newSmallDisk(t, s)
	}
	return s
}

// Database makes a database on the server, as New does on the shared one.
func (s *Server) Database(migrate func(ctx context.Context, url string) error, name string) *Database {
	s.t.Helper()
	db := s.host.database(s.t, migrate, name)
	db.Server = s
	return db
}

// Stop stops the server as an administrator would: it rolls open transactions
// back and tells its clients.
func (s *Server) Stop() { s.t.Helper(); s.must("stopping", s.server.Halt) }

// Kill stops the server at once, as a power cut would.
func (s *Server) Kill() { s.t.Helper(); s.must("killing", s.server.Crash) }

// Start starts the server after Stop or Kill, at the same address.
func (s *Server) Start() { s.t.Helper(); s.must("starting", s.server.Resume) }

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// FillDisk leaves no space for tables and indexes to grow until FreeDisk. The
// server must have been made WithSmallDisk. Rows still fit into pages that
// have room: write some before expecting SQLSTATE 53100. The write-ahead log
// is not affected.
func (s *Server) FillDisk() { s.t.Helper(); s.must("filling the disk of", s.disk.fill) }

// FreeDisk undoes FillDisk.
func (s *Server) FreeDisk() { s.t.Helper(); s.must("freeing the disk of", s.disk.free) }

func (s *Server) must(what string, do func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := bound()
	defer cancel()
	if err := do(ctx); err != nil {
		s.t.Fatalf("pgtest: %s a dedicated server: %v", what, err)
	}
}

// bound is the context of work that tests do not wait for any longer.
func bound() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Minute)
}
