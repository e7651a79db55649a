package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// oldest is the oldest major version Holdfast's SQL is written for.
const oldest = 15

// Binaries are the programs of one PostgreSQL installation.
type Binaries struct {
	// Dir holds initdb and postgres.
	Dir string
	// Version is what the server says, such as "15.14".
	Version string
	// Major is the number that data directories are named by.
	Major int
}

// FindBinaries returns every installation on this machine that Holdfast can
// use, newest first: on PATH, where Debian and Ubuntu put them, in Homebrew
// and in Postgres.app.
func FindBinaries(ctx context.Context) []Binaries {
	var dirs []string
	if program, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	return usable(ctx, dirs)
}

func usable(ctx context.Context, dirs []string) []Binaries {
	var all []Binaries
	for _, dir := range dirs {
		known := slices.ContainsFunc(all, func(b Binaries) bool { return b.Dir == dir })
		if found, err := inspect(ctx, dir); err == nil && !known {
			all = append(all, found)
		}
	}
	slices.SortStableFunc(all, func(a, b Binaries) int { return b.Major - a.Major })
	return all
}

// inspect asks the server in dir for its version.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, fmt.Errorf("looking for initdb: %w", err)
	}
	output, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("asking %s/postgres for its version: %w", dir, err)
	}
	// "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
	_, after, _ := strings.Cut(string(output), ") ")
	version, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	digits, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(digits)
	if err != nil {
		return Binaries{}, fmt.Errorf("reading the version %q of %s/postgres: %w", output, dir, err)
	}
	if major < oldest {
		return Binaries{}, fmt.Errorf("%s holds PostgreSQL %d: %w", dir, major, errTooOld)
	}
	return Binaries{Dir: dir, Version: version, Major: major}, nil
}

var errTooOld = errors.New("older than PostgreSQL 15")

// locate chooses the binaries: those asked for, or else those that fit data
// which is already there, or else the newest, or else a download.
func locate(ctx context.Context, opts Options) (Binaries, error) {
	if opts.BinDir != "" {
		return inspect(ctx, opts.BinDir)
	}
	found := opts.find(ctx)
	for _, candidate := range found {
		data := filepath.Join(opts.DataDir, strconv.Itoa(candidate.Major), "data", "PG_VERSION")
		if _, err := os.Stat(data); err == nil && opts.DataDir != "" {
			return candidate, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	return download(ctx, opts)
}
