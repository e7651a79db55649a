package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
)

// Backup is a copy of a dedicated server's data as it was.
type Backup struct{ dir string }

// Backup stops the server, copies all of its data, and starts it again: a base
// backup, taken cold, which needs none of the programs that a minimal installation
// lacks.
func (s *Server) Backup() Backup {
	s.t.Helper()
	s.Stop()
	b := Backup{s.t.TempDir()}
	s.copyData(s.data(), b.dir)
	s.Start()
	return b
}

// Restore puts the data back as it was: whatever was committed since is lost.
func (s *Server) Restore(b Backup) {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.data()); err != nil {
		s.t.Fatalf("pgtest: restoring a dedicated server: %v", err)
	}
	s.copyData(b.dir, s.data())
	s.Start()
}

func (s *Server) data() string { return filepath.Join(s.server.DataDir(), "data") }

// copyData copies a data directory, which nobody else may read.
func (s *Server) copyData(from, to string) {
	s.t.Helper()
	err := os.CopyFS(to, os.DirFS(from))
	if err == nil {
		err = filepath.WalkDir(to, private)
	}
	if err == nil {
		err = s.server.Own(to)
	}
	if err != nil {
		s.t.Fatalf("pgtest: copying the data of a dedicated server: %v", err)
	}
}

func private(path string, entry os.DirEntry, err error) error {
	if err != nil {
		return fmt.Errorf("making a data directory private: %w", err)
	}
	if entry.IsDir() {
		return os.Chmod(path, 0o700)
	}
	return os.Chmod(path, 0o600)
}
