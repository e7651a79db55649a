//go:build unix

package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initialise makes the data directory unless it is there. It is made under
// another name first: a killed initdb leaves nothing that looks like data.
func (s *Server) initialise(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.files.data, "PG_VERSION")); err == nil {
		password, err := os.ReadFile(s.files.password)
		if err != nil {
			return unusable(s.files.root, err)
		}
		s.password = string(password)
		return nil
	}
	s.opts.Progress(fmt.Sprintf("initialising a PostgreSQL %d data directory in %s", s.binaries.Major, s.files.root))
	s.password = rand.Text()
	if err := os.WriteFile(s.files.password, []byte(s.password), 0o600); err != nil {
		return unusable(s.files.root, err)
	}
	if err := s.account.own(s.files.password); err != nil {
		return unusable(s.files.root, err)
	}
	fresh := s.files.data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return unusable(s.files.root, err)
	}
	if err := s.initdb(ctx, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, s.files.data); err != nil {
		return unusable(s.files.root, err)
	}
	return nil
}

// initdb makes a cluster that sorts by bytes in UTF-8, on every machine alike.
func (s *Server) initdb(ctx context.Context, dir string) error {
	args := []string{
		"--pgdata=" + dir, "--username=" + Superuser, "--pwfile=" + s.files.password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
	}
	if s.opts.Ephemeral {
		args = append(args, "--no-sync")
	}
	output, err := s.command(ctx, "initdb", args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if said := complaint(string(output)); bytes.Contains(output, []byte("error:")) {
		err = fmt.Errorf("%s, as %s", said, s.account)
	}
	return unusable(s.files.root, err)
}

// copySeed fills an ephemeral server's folder from the seed. It returns false
// if there is none to copy, and the server is to be initialised.
func (s *Server) copySeed(ctx context.Context) bool {
	if s.opts.Seed == "" {
		return false
	}
	from := filesIn(s.seed())
	password, err := os.ReadFile(from.password)
	if err != nil {
		return false
	}
	// cp knows how to copy on write where the file system can.
	copied := exec.CommandContext(ctx, "cp", "-R", from.data, s.files.data)
	if copied.Run() != nil || os.WriteFile(s.files.password, password, 0o600) != nil || s.account.own(s.files.root) != nil {
		_ = os.RemoveAll(s.files.data)
		return false
	}
	s.password = string(password)
	return true
}

// leaveSeed keeps a copy of a cluster that was never started. A seed is only a
// shortcut: failing to leave one is not an error.
func (s *Server) leaveSeed(ctx context.Context) {
	if s.opts.Seed == "" || os.MkdirAll(s.opts.Seed, 0o700) != nil {
		return
	}
	fresh, err := os.MkdirTemp(s.opts.Seed, "new-")
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	to := filesIn(fresh)
	if exec.CommandContext(ctx, "cp", "-R", s.files.data, to.data).Run() != nil {
		return
	}
	if os.WriteFile(to.password, []byte(s.password), 0o600) != nil {
		return
	}
	// Renaming onto a seed that another process left fails, and theirs is as good.
	_ = os.Rename(fresh, s.seed())
}

func (s *Server) seed() string {
	return filepath.Join(s.opts.Seed, "cluster-"+strings.ReplaceAll(s.binaries.Version, " ", "_"))
}
