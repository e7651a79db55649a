package local

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Data is the directory that a platform on this machine keeps everything in.
type Data struct {
	// Dir is its path.
	Dir string

	ephemeral bool
	unlock    func()
}

// DefaultDataDir is where data is kept when nobody says otherwise: the user's
// data directory by the XDG rules. Postgres refuses to run as root, so root's
// data lies where its unprivileged user can reach it, not in root's home.
func DefaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/holdfast", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "holdfast"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the data: %w; name one with --data", err)
	}
	return filepath.Join(home, ".local", "share", "holdfast"), nil
}

// OpenData makes the directory if it is not there and takes possession of it.
func OpenData(dir string) (*Data, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, unwritable(dir, err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("another `holdfast up` uses %s: stop it, or use --ephemeral or --data DIR", dir)
	}
	if err != nil {
		return nil, unwritable(dir, err)
	}
	return openData(dir, false, unlock)
}

// TemporaryData makes a directory that [Data.Close] removes.
func TemporaryData() (*Data, error) {
	dir, err := os.MkdirTemp("", "holdfast-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary directory: %w; TMPDIR names another place", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // for Postgres's user, when this is root's
		return nil, errors.Join(unwritable(dir, err), os.RemoveAll(dir))
	}
	return openData(dir, true, func() {})
}

func openData(dir string, ephemeral bool, unlock func()) (*Data, error) {
	d := &Data{Dir: dir, ephemeral: ephemeral, unlock: unlock}
	for _, sub := range []string{"logs", "run", "sandbox"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			d.Close()
			return nil, unwritable(dir, err)
		}
	}
	return d, nil
}

func unwritable(dir string, err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	return fmt.Errorf("cannot keep data in %s: %w; name another place with --data DIR, or use --ephemeral", dir, err)
}

// Close gives the directory up, and removes it if it is temporary.
func (d *Data) Close() {
	d.unlock()
	if d.ephemeral {
		_ = os.RemoveAll(d.Dir) // it lies in the temporary directory: the system cleans it
	}
}

// LogFile is where a service's log goes.
func (d *Data) LogFile(service string) string {
	return filepath.Join(d.Dir, "logs", service+".log")
}

// PIDFile holds the id of a service's process.
func (d *Data) PIDFile(service string) string {
	return filepath.Join(d.Dir, "run", service+".pid")
}

// SandboxDir is where the sandbox keeps its ledger.
func (d *Data) SandboxDir() string { return filepath.Join(d.Dir, "sandbox") }

// PostgresDir is where Postgres keeps its data.
func (d *Data) PostgresDir() string { return filepath.Join(d.Dir, "postgres") }

// DerivationSecrets returns the secrets that derived keys are made with, and
// makes them the first time.
func (d *Data) DerivationSecrets() (string, error) {
	path := filepath.Join(d.Dir, "derivation-secrets")
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the derivation secrets: %w", err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	secrets := "v1:" + hex.EncodeToString(secret)
	if err := os.WriteFile(path, []byte(secrets+"\n"), 0o600); err != nil {
		return "", unwritable(d.Dir, err)
	}
	return secrets, nil
}
