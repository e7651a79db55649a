//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The ways to stop a server, as its documentation calls them.
const (
	fast      = syscall.SIGINT
	immediate = syscall.SIGQUIT
)

const poll = 10 * time.Millisecond

// launch starts the server and returns when it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	for {
		err := s.launchOnce(ctx)
		// Two causes pass by themselves: the port was taken between finding
		// it free and using it, and orphans of a killed server still hold its
		// shared memory for the moment they need to notice.
		switch {
		case err == nil:
			return nil
		case strings.Contains(err.Error(), "could not create any TCP/IP sockets") && s.opts.Port == 0:
			s.port = 0
		case strings.Contains(err.Error(), "shared memory block"):
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Server) launchOnce(ctx context.Context) error {
	if s.port == 0 {
		port, err := listenable(ctx, 0)
		if err != nil {
			return err
		}
		s.port = port
	}
	log, err := os.OpenFile(s.files.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return unusable(s.files.root, err)
	}
	defer func() { _ = log.Close() }()

	// The server outlives ctx, and even this process if it is a lasting one.
	cmd := s.command(context.WithoutCancel(ctx), "postgres", s.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting PostgreSQL %d as %s: %w; set HOLDFAST_DATABASE_URL to use another server", s.binaries.Major, s.account, err)
	}
	s.pid, s.child = cmd.Process.Pid, true
	for {
		if p, ok := readPostmaster(s.files.pid); ok && p.pid == s.pid && p.ready {
			return nil
		}
		if gone(s.pid) {
			s.pid, s.child = 0, false
			said, _ := os.ReadFile(s.files.log)
			return fmt.Errorf("PostgreSQL %d did not start in %s: %s", s.binaries.Major, s.files.root, complaint(string(said)))
		}
		select {
		case <-ctx.Done():
			_ = syscall.Kill(s.pid, immediate)
			s.awaitEnd(context.WithoutCancel(ctx))
			return fmt.Errorf("waiting for PostgreSQL %d in %s to accept connections: %w", s.binaries.Major, s.files.root, ctx.Err())
		case <-time.After(poll):
		}
	}
}

// halt signals the server and waits for its end. When ctx ends first, the
// server is stopped at once.
func (s *Server) halt(ctx context.Context, how syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		return nil
	}
	if err := syscall.Kill(s.pid, how); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping PostgreSQL (pid %d): %w", s.pid, err)
	}
	if s.awaitEnd(ctx) {
		return nil
	}
	_ = syscall.Kill(s.pid, immediate)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if s.awaitEnd(last) {
		return nil
	}
	return fmt.Errorf("PostgreSQL (pid %d) does not stop", s.pid)
}

func (s *Server) awaitEnd(ctx context.Context) bool {
	for {
		if s.child && gone(s.pid) || !s.child && !s.serving() {
			s.pid, s.child = 0, false
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(poll):
		}
	}
}

// serving reports whether the server, somebody else's child, still runs. Its
// last act is to remove its pid file; a killed one leaves the file.
func (s *Server) serving() bool {
	p, ok := readPostmaster(s.files.pid)
	return ok && p.pid == s.pid && !errors.Is(syscall.Kill(s.pid, 0), syscall.ESRCH)
}

// gone reaps a child that has ended. It is polled, because a goroutine waiting
// for a server that lives as long as the process would look like a leak.
func gone(pid int) bool {
	var status syscall.WaitStatus
	reaped, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	return reaped == pid || errors.Is(err, syscall.ECHILD)
}

// command prepares one of the server's programs under the server's account.
func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries.Dir, program), args...)
	cmd.Dir = "/" // our own working directory may be closed to the account
	cmd.Env = []string{"PATH=" + s.binaries.Dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = s.account.processAttributes()
	return cmd
}

func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": "", // their paths may be too long for the kernel
		"timezone":                "UTC",
		"log_timezone":            "UTC",
	}
	for name, value := range s.opts.Settings {
		settings[name] = value
	}
	args := []string{"-D", s.files.data}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// listenable returns port if nobody listens on it, and any free port for 0.
func listenable(ctx context.Context, port int) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("finding a port for Postgres: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
