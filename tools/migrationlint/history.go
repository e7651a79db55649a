package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// sumFile lists the migrations of a folder in the order they were written, each
// with its hash, and between them the releases they went out with:
//
//	4f0c…  00001_idempotency.sql
//	released v0.1.0
//	93ab…  00002_orders.sql
//
// It only grows.
const sumFile = "migrations.sum"

// history is what a sumFile says.
type history struct{ events []event }

// event is a migration that was written, or a release.
type event struct {
	file, hash string
	release    string
}

var versionPattern = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func readHistory(fsys fs.FS) (history, error) {
	content, err := fs.ReadFile(fsys, sumFile)
	if errors.Is(err, fs.ErrNotExist) {
		return history{}, nil
	}
	if err != nil {
		return history{}, err
	}
	var h history
	for line := range strings.Lines(string(content)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "released" && versionPattern.MatchString(words[1]):
			h.events = append(h.events, event{release: words[1]})
		case len(words) == 2 && len(words[0]) == 64:
			h.events = append(h.events, event{hash: words[0], file: words[1]})
		default:
			return history{}, fmt.Errorf("%s: what is %q?", sumFile, strings.TrimSpace(line))
		}
	}
	return h, nil
}

// find returns where a file is noted, and where a release is: -1 if it is not.
func (h history) find(file string) int {
	return slices.IndexFunc(h.events, func(e event) bool { return e.file == file && file != "" })
}

func (h history) findRelease(version string) int {
	return slices.IndexFunc(h.events, func(e event) bool { return e.release == version })
}

// releasedBetween reports whether a release lies between two places.
func (h history) releasedBetween(from, to int) bool {
	return slices.ContainsFunc(h.events[from:to], func(e event) bool { return e.release != "" })
}

// compare reports migrations that are not as they were noted, and those that
// were not noted.
func (h history) compare(fsys fs.FS, names []string) ([]Finding, error) {
	var findings []Finding
	last := ""
	for _, e := range h.events {
		if e.file == "" {
			continue
		}
		last = max(last, e.file)
		if !slices.Contains(names, e.file) {
			findings = append(findings, Finding{e.file, 0, "deleted", "this migration is gone; write another that undoes it"})
			continue
		}
		source, err := fs.ReadFile(fsys, e.file)
		if err != nil {
			return nil, err
		}
		if hash(source) != e.hash {
			findings = append(findings, Finding{e.file, 0, "changed", "this migration is not what it was when it was noted; write another"})
		}
	}
	for _, name := range names {
		switch {
		case h.find(name) >= 0:
		case name < last:
			findings = append(findings, Finding{name, 0, "order", "its number is below that of " + last + ", which databases have already"})
		default:
			findings = append(findings, Finding{name, 0, "unrecorded", "it is not in " + sumFile + ": make migrations-record"})
		}
	}
	return findings, nil
}

func hash(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }

// recordNew notes the migrations of a folder that are not noted yet.
func recordNew(folder string) error {
	h, err := readHistory(os.DirFS(folder))
	if err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, path := range names {
		if h.find(filepath.Base(path)) >= 0 {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s  %s\n", hash(source), filepath.Base(path))
	}
	return appendTo(folder, lines.String())
}

// appendRelease notes that everything noted so far is released.
func appendRelease(folder, version string) error {
	if !versionPattern.MatchString(version) {
		return fmt.Errorf("%q is no version such as v1.2.0", version)
	}
	h, err := readHistory(os.DirFS(folder))
	if err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	if h.findRelease(version) >= 0 {
		return fmt.Errorf("%s: %s was released already", folder, version)
	}
	return appendTo(folder, "released "+version+"\n")
}

func appendTo(folder, lines string) error {
	file, err := os.OpenFile(filepath.Join(folder, sumFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, lines)
	return errors.Join(err, file.Close())
}

// compareWith reports migrations that a commit has and that are not here as it
// has them, whatever the sumFile says: the one who changes a migration can
// change that too.
func compareWith(ctx context.Context, folder, revision string, stdout io.Writer) ([]Finding, error) {
	git := func(args ...string) ([]byte, error) {
		command := exec.CommandContext(ctx, "git", args...)
		command.Dir = folder
		out, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
		}
		return out, nil
	}
	if _, err := git("cat-file", "-e", revision+"^{commit}"); err != nil {
		fmt.Fprintf(stdout, "%s: there is no commit %s here to compare with\n", folder, revision)
		return nil, nil
	}
	listed, err := git("ls-tree", "--name-only", revision, "./")
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for name := range strings.Lines(string(listed)) {
		name = strings.TrimSpace(name)
		if filepath.Ext(name) != ".sql" {
			continue
		}
		before, err := git("show", revision+":./"+name)
		if err != nil {
			return nil, err
		}
		now, err := os.ReadFile(filepath.Join(folder, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			findings = append(findings, Finding{name, 0, "deleted", revision + " has this migration"})
		case err != nil:
			return nil, err
		case !bytes.Equal(before, now):
			findings = append(findings, Finding{name, 0, "changed", revision + " has this migration in another form"})
		}
	}
	return findings, nil
}
