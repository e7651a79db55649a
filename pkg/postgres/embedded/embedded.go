// Package embedded starts a PostgreSQL server that belongs to Holdfast, for
// people who have none at hand: `holdfast up` and the tests.
//
// The server binaries are those found on the machine, or else downloaded once
// into the user's cache. The server listens on loopback only, with a random
// password. Nothing here is meant for production: give the services
// HOLDFAST_DATABASE_URL there, and this package is not used.
//
// A data directory survives its processes. Several of them may use it at a
// time: the first starts the server, the others find it running, the last to
// leave stops it. After kill -9 of a user the server keeps running and the
// next user adopts it; after kill -9 of the server itself the next start
// recovers from the write-ahead log.
//
// PostgreSQL refuses to run as root. A root process therefore runs it under an
// unprivileged account (postgres if there is one, else nobody) with its data
// outside root's home.
package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Superuser is the database role that URL connects as.
const Superuser = "holdfast"

// startBound is how long a server may take until it accepts connections.
// Recovery of a crashed data directory is part of it.
const startBound = 2 * time.Minute

// Options say which server Start starts. The zero value is a lasting server in
// DefaultDataDir.
type Options struct {
	// DataDir holds one folder for each major version of PostgreSQL. Empty
	// means DefaultDataDir.
	DataDir string
	// Ephemeral gives the server a new folder below the system's temporary
	// one and removes it with the server, even if this process is killed.
	// DataDir is not used.
	Ephemeral bool
	// Seed is a folder in which an ephemeral server looks for a freshly
	// initialised cluster to copy, and leaves one for the next. Copying takes
	// a tenth of the time of initialising. Empty means always initialise.
	Seed string
	// Port to listen on. Zero means the port of the last start, or else any
	// free one.
	Port int
	// Settings of the server, such as max_connections.
	Settings map[string]string
	// BinDir is the folder of the server binaries. Empty means: look for them.
	BinDir string
	// Repository is the Maven repository that serves the binaries if none are
	// found. Empty means Maven Central.
	Repository string
	// CacheDir keeps downloaded binaries. Empty means the user's cache folder,
	// and /var/cache for root.
	CacheDir string
	// Log receives what happened. Nil means slog.Default.
	Log *slog.Logger
	// Progress is told each slow step in words for people. Nil is allowed.
	Progress func(string)

	// find is FindBinaries, except in tests.
	find func(context.Context) []Binaries
}

// Server is a running PostgreSQL server.
type Server struct {
	opts     Options
	binaries Binaries
	account  *account
	files    files
	password string
	reused   bool

	mu      sync.Mutex
	port    int
	pid     int
	child   bool // pid is our own child and must be waited for
	users   *fileLock
	cleanup func() error
}

// DefaultDataDir is where a lasting server keeps its data if nobody says
// otherwise: the user's data folder, or /var/lib for root, whose home the
// unprivileged account could not enter.
func DefaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/holdfast/postgres", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "holdfast", "postgres"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for Postgres data: %w", err)
	}
	return filepath.Join(home, ".local", "share", "holdfast", "postgres"), nil
}

// Start returns a server that accepts connections: one that already runs on
// the data directory, or a new one. Errors are one line for people.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	if opts.find == nil {
		opts.find = FindBinaries
	}
	if opts.DataDir == "" && !opts.Ephemeral {
		dir, err := DefaultDataDir()
		if err != nil {
			return nil, err
		}
		opts.DataDir = dir
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	binaries, err := locate(ctx, opts)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, binaries: binaries, account: who, port: opts.Port}
	start := s.startLasting
	if opts.Ephemeral {
		start = s.startEphemeral
	}
	if err := start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// URL is the address of the server with its credentials and no database.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(Superuser, s.password),
		Host:     "127.0.0.1:" + strconv.Itoa(s.port),
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Reused reports whether Start found the server running.
func (s *Server) Reused() bool { return s.reused }

// Version is the major version of the server, such as "17".
func (s *Server) Version() string { return strconv.Itoa(s.binaries.Major) }

// Binaries are the programs the server runs from.
func (s *Server) Binaries() Binaries { return s.binaries }

// DataDir is the folder that holds this server's data directory, log and lock.
func (s *Server) DataDir() string { return s.files.root }

// Own hands path to the account that runs the server.
func (s *Server) Own(path string) error { return s.account.own(path) }

// Stop gives the server back. A lasting server keeps running while another
// process uses it. Connections still open are ended; if the server has not
// stopped when ctx ends it is made to, without a checkpoint.
func (s *Server) Stop(ctx context.Context) error {
	if s.opts.Ephemeral {
		return s.stopEphemeral(ctx)
	}
	return s.stopLasting(ctx)
}

// Halt stops the server as an administrator would: open transactions are
// rolled back, connections ended, a checkpoint written.
func (s *Server) Halt(ctx context.Context) error { return s.halt(ctx, fast) }

// Crash stops the server at once, as a power cut would. The next Resume
// recovers from the write-ahead log.
func (s *Server) Crash(ctx context.Context) error { return s.halt(ctx, immediate) }

// Resume starts the server again after Halt or Crash, on the same port.
func (s *Server) Resume(ctx context.Context) error { return s.launch(ctx) }
