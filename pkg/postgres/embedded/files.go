package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// files are the paths of one server.
type files struct {
	root     string // everything below belongs to the server
	data     string // PGDATA
	pid      string // written and removed by the server
	log      string
	password string
	port     string // of the last start, so that a lasting server keeps it
	starting string // locked while somebody starts or stops the server
	users    string // share-locked by every process that uses the server
}

func filesIn(root string) files {
	data := filepath.Join(root, "data")
	return files{
		root:     root,
		data:     data,
		pid:      filepath.Join(data, "postmaster.pid"),
		log:      filepath.Join(root, "postgres.log"),
		password: filepath.Join(root, "password"),
		port:     filepath.Join(root, "port"),
		starting: filepath.Join(root, "starting.lock"),
		users:    filepath.Join(root, "users.lock"),
	}
}

// postmaster is what a server writes about itself into postmaster.pid.
type postmaster struct {
	pid   int
	port  int
	ready bool
}

// readPostmaster returns false if there is no such file or it is not yet
// written in full. The format is that of PostgreSQL's pidfile.h.
func readPostmaster(path string) (postmaster, bool) {
	content, err := os.ReadFile(path)
	if err != nil {
		return postmaster{}, false
	}
	const pidLine, portLine, statusLine = 0, 3, 7
	lines := strings.Split(string(content), "\n")
	if len(lines) <= portLine {
		return postmaster{}, false
	}
	var p postmaster
	if p.pid, err = strconv.Atoi(strings.TrimSpace(lines[pidLine])); err != nil {
		return postmaster{}, false
	}
	if p.port, err = strconv.Atoi(strings.TrimSpace(lines[portLine])); err != nil {
		return postmaster{}, false
	}
	p.ready = len(lines) > statusLine && strings.TrimSpace(lines[statusLine]) == "ready"
	return p, true
}

// complaint is the last line of a Postgres log that says what is wrong.
func complaint(log string) string {
	found := "it left no message"
	for line := range strings.Lines(log) {
		for _, marker := range []string{"FATAL:", "PANIC:", "error:", "ERROR:"} {
			if _, after, ok := strings.Cut(line, marker); ok {
				found = strings.TrimSpace(after)
			}
		}
	}
	return found
}

// unusable is the one line for a folder that cannot hold a server.
func unusable(dir string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("the Postgres data folder %s cannot be used: %w; choose another one or set HOLDFAST_DATABASE_URL", dir, err)
}
