package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder is a folder of migrations on disk, in a git repository.
type folder struct {
	t    *testing.T
	path string
}

func newFolder(t *testing.T) folder {
	t.Helper()
	f := folder{t, filepath.Join(t.TempDir(), "migrations")}
	if err := os.Mkdir(f.path, 0o755); err != nil {
		t.Fatal(err)
	}
	f.git("init", "--quiet")
	f.write("00001_first.sql", up("CREATE TABLE a (id uuid PRIMARY KEY);"))
	f.write("00002_second.sql", up("CREATE TABLE b (id uuid PRIMARY KEY);"))
	f.mustRun("-record", f.path)
	f.commit()
	return f
}

func (f folder) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.path, name), []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.path, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) git(args ...string) {
	f.t.Helper()
	command := exec.CommandContext(f.t.Context(), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	command.Dir = f.path
	if out, err := command.CombinedOutput(); err != nil {
		f.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (f folder) commit() {
	f.t.Helper()
	f.git("add", ".")
	f.git("commit", "--quiet", "--message", "x")
}

// run runs the command and returns what it printed.
func (f folder) run(args ...string) (string, error) {
	var out strings.Builder
	err := run(f.t.Context(), args, &out)
	return out.String(), err
}

func (f folder) mustRun(args ...string) {
	f.t.Helper()
	if out, err := f.run(args...); err != nil {
		f.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func (f folder) refused(by string, args ...string) {
	f.t.Helper()
	out, err := f.run(args...)
	if err == nil || !strings.Contains(out, ": "+by+": ") {
		f.t.Errorf("%v: %v, not refused by %s:\n%s", args, err, by, out)
	}
}

func TestAMigrationThatChangedIsRefused(t *testing.T) {
	f := newFolder(t)
	f.mustRun("-against", "HEAD", f.path)
	f.write("00001_first.sql", up("CREATE TABLE a (id bigint PRIMARY KEY);"))
	f.refused("changed", f.path)
}

func TestAMigrationThatIsGoneIsRefused(t *testing.T) {
	f := newFolder(t)
	f.remove("00002_second.sql")
	f.refused("deleted", f.path)
}

// TestAForgedSumDoesNotHelp: who changes a migration can write its new hash as
// well, but not into the commit before.
func TestAForgedSumDoesNotHelp(t *testing.T) {
	f := newFolder(t)
	f.remove(sumFile)
	f.remove("00002_second.sql")
	f.write("00001_first.sql", up("CREATE TABLE a (id bigint PRIMARY KEY);"))
	f.mustRun("-record", f.path) // the folder alone looks fine
	f.refused("changed", "-against", "HEAD", f.path)
	f.refused("deleted", "-against", "HEAD", f.path)
}

func TestACommitThatIsNotHereIsSaidNotSkippedInSilence(t *testing.T) {
	f := newFolder(t)
	out, err := f.run("-against", "v9.9.9", f.path)
	if err != nil || !strings.Contains(out, "no commit v9.9.9") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestANewMigrationMustBeRecordedAndLast(t *testing.T) {
	f := newFolder(t)
	f.write("00003_third.sql", up("SELECT 1;"))
	f.refused("unrecorded", f.path)
	f.mustRun("-record", f.path)
	f.mustRun(f.path)

	f.write("00002_between.sql", up("SELECT 1;"))
	f.refused("order", f.path)
}

// TestTheHistoryGrows: a release closes what was recorded before it, and is
// what a contract refers to.
func TestTheHistoryGrows(t *testing.T) {
	f := newFolder(t)
	f.mustRun("-release", "v0.1.0", f.path)
	if _, err := f.run("-release", "v0.1.0", f.path); err == nil {
		t.Error("a version was released twice")
	}
	if _, err := f.run("-release", "next", f.path); err == nil {
		t.Error("`next` was taken for a version")
	}
	f.write("00003_third.sql", up("-- contract: unused since v0.1.0\nDROP TABLE b;"))
	f.mustRun("-record", f.path)

	past, err := readHistory(os.DirFS(f.path))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range past.events {
		order = append(order, e.file+e.release)
	}
	want := []string{"00001_first.sql", "00002_second.sql", "v0.1.0", "00003_third.sql"}
	if !slices.Equal(order, want) {
		t.Errorf("recorded %v, want %v", order, want)
	}
}

func TestAFolderWithoutMigrationsIsAnError(t *testing.T) {
	f := newFolder(t)
	if _, err := f.run(t.TempDir()); err == nil {
		t.Error("an empty folder passed")
	}
	if _, err := f.run(); err == nil {
		t.Error("no folder at all passed")
	}
}
