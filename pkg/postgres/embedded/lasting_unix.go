//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// startLasting adopts the server that runs on the data directory or starts
// one. Of processes that start at the same time one does it.
func (s *Server) startLasting(ctx context.Context) error {
	root := filepath.Join(s.opts.DataDir, strconv.Itoa(s.binaries.Major))
	s.files = filesIn(root)
	if err := s.makeRoot(); err != nil {
		return unusable(root, err)
	}
	starting, err := lockExclusive(ctx, s.files.starting)
	if err != nil {
		return unusable(root, err)
	}
	defer starting.release()
	if s.users, err = openLock(s.files.users); err != nil {
		return unusable(root, err)
	}
	if err := s.adoptOrLaunch(ctx); err != nil {
		s.users.release()
		return err
	}
	// Nobody holds the lock exclusively now: that takes the other one.
	if _, err := s.users.try(syscall.LOCK_SH); err != nil {
		return unusable(root, err)
	}
	return nil
}

func (s *Server) adoptOrLaunch(ctx context.Context) error {
	if err := s.initialise(ctx); err != nil {
		return err
	}
	if s.adopt(ctx) {
		s.reused = true
		s.opts.Log.InfoContext(ctx, "using the Postgres that already runs", "dir", s.files.root, "port", s.port)
		return nil
	}
	if err := s.removeStalePid(ctx); err != nil {
		return err
	}
	if s.port == 0 {
		s.port = s.lastPort(ctx)
	}
	s.opts.Progress(fmt.Sprintf("starting PostgreSQL %s in %s", s.binaries.Version, s.files.root))
	if err := s.launch(ctx); err != nil {
		return err
	}
	// Remembering the port is a comfort.
	_ = os.WriteFile(s.files.port, []byte(strconv.Itoa(s.port)), 0o600)
	s.opts.Log.InfoContext(ctx, "started Postgres", "version", s.binaries.Version, "dir", s.files.root, "port", s.port, "account", s.account.String())
	return nil
}

// makeRoot makes the server's folder, with parents the account can pass.
func (s *Server) makeRoot() error {
	if err := os.MkdirAll(filepath.Dir(s.files.root), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(s.files.root, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if s.account == nil {
		return nil
	}
	return os.Lchown(s.files.root, s.account.uid, s.account.gid)
}

// adopt returns true if a server answers on the data directory. It is asked,
// not believed: another program may have got the pid or the port.
func (s *Server) adopt(ctx context.Context) bool {
	running, ok := readPostmaster(s.files.pid)
	if !ok || errors.Is(syscall.Kill(running.pid, 0), syscall.ESRCH) {
		return false
	}
	// One whose starter was killed may still be getting ready.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s.port = running.port
	for s.running(ctx, running.pid) {
		if s.answers(ctx) {
			s.pid, s.child = running.pid, false
			return true
		}
		select {
		case <-ctx.Done():
			s.port = s.opts.Port
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.port = s.opts.Port
	return false
}

func (s *Server) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL()+"&dbname=postgres")
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var dir string
	return conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir) == nil && sameFile(dir, s.files.data)
}

func sameFile(a, b string) bool {
	left, leftErr := os.Stat(a)
	right, rightErr := os.Stat(b)
	return leftErr == nil && rightErr == nil && os.SameFile(left, right)
}

// removeStalePid removes what a killed server left. Postgres does so itself,
// except when another process of the same account has got the pid since, which
// a reboot makes likely.
func (s *Server) removeStalePid(ctx context.Context) error {
	left, ok := readPostmaster(s.files.pid)
	if !ok {
		return nil
	}
	if s.running(ctx, left.pid) {
		return fmt.Errorf("a Postgres (pid %d) runs on %s and does not answer; stop it or set HOLDFAST_DATABASE_URL", left.pid, s.files.data)
	}
	s.opts.Log.WarnContext(ctx, "the last Postgres here was killed; it recovers now", "dir", s.files.root, "pid", left.pid)
	if err := os.Remove(s.files.pid); err != nil {
		return unusable(s.files.root, err)
	}
	return nil
}

// running reports whether pid is a Postgres on our data directory.
func (s *Server) running(ctx context.Context, pid int) bool {
	return strings.Contains(commandLine(ctx, pid), "-D "+s.files.data+" ")
}

// commandLine is how a process was started, and empty if there is none.
func commandLine(ctx context.Context, pid int) string {
	if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		return strings.ReplaceAll(string(args), "\x00", " ")
	}
	// Without /proc, as on macOS.
	output, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return string(output)
}

// lastPort is the port of the last start if it is free, else 0.
func (s *Server) lastPort(ctx context.Context) int {
	content, err := os.ReadFile(s.files.port)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(string(content))
	if err != nil {
		return 0
	}
	if port, err = listenable(ctx, port); err != nil {
		return 0 // taken
	}
	return port
}

// stopLasting stops the server if this process is the last that uses it.
func (s *Server) stopLasting(ctx context.Context) error {
	starting, err := lockExclusive(ctx, s.files.starting)
	if err != nil {
		return unusable(s.files.root, err)
	}
	defer starting.release()
	defer s.users.release()
	last, err := s.users.try(syscall.LOCK_EX)
	if err != nil {
		return err
	}
	if !last {
		s.opts.Log.InfoContext(ctx, "leaving Postgres to its other users", "dir", s.files.root)
		return nil
	}
	return s.halt(ctx, fast)
}
