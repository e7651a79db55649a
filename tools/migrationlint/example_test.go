package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// renameExample is the migrations of orders and those that will finish the
// rename that docs/migrations.md walks through, with the releases they go out
// with, by the last migration of each.
func renameExample(t *testing.T, releases map[string]string) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, pattern := range []string{"migrations/0*.sql", "testdata/rename/0*.sql"} {
		paths, err := filepath.Glob("../../services/orders/" + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fsys[filepath.Base(path)] = &fstest.MapFile{Data: content}
		}
	}
	var sums strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fsys)) {
		sums.WriteString(hash(fsys[name].Data) + "  " + name + "\n")
		if version := releases[name[:5]]; version != "" {
			sums.WriteString("released " + version + "\n")
		}
	}
	fsys[sumFile] = &fstest.MapFile{Data: []byte(sums.String())}
	return fsys
}

func TestTheRenameExamplePassesReleaseByRelease(t *testing.T) {
	fsys := renameExample(t, map[string]string{"00002": "v0.0.1", "00004": "v0.1.0", "00007": "v0.2.0"})
	if rules := lint(t, fsys); len(rules) > 0 {
		t.Errorf("refused by %v", rules)
	}
}

// TestTheRenameExampleInFewerReleasesIsRefused: two of its steps in one release
// break whoever serves meanwhile.
func TestTheRenameExampleInFewerReleasesIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		releases map[string]string
		rule     string
	}{
		"the drop with the release that stops":     {map[string]string{"00004": "v0.1.0", "00008": "v0.2.0"}, "contract"},
		"the expand with the release that stops":   {map[string]string{"00002": "v0.1.0", "00007": "v0.2.0"}, "contract"},
		"the new name demanded with the expansion": {map[string]string{"00002": "v0.1.0", "00007": "v0.2.0"}, "set-not-null"},
	} {
		t.Run(name, func(t *testing.T) {
			if rules := lint(t, renameExample(t, test.releases)); !slices.Contains(rules, test.rule) {
				t.Errorf("refused by %v, not by %s", rules, test.rule)
			}
		})
	}
}
