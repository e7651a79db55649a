package resources

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Limit is the memory that a process may use before the kernel kills it.
type Limit struct {
	// Bytes is the limit, 0 if there is none.
	Bytes int64
	// Version is that of the cgroups that set it, 1 or 2; 0 if there is none.
	Version int
	// File is where it was read.
	File string
}

// Limited reports whether there is a limit.
func (l Limit) Limited() bool { return l.Bytes > 0 }

// String says where the limit is from.
func (l Limit) String() string {
	if !l.Limited() {
		return "none"
	}
	return fmt.Sprintf("cgroup v%d, %s", l.Version, l.File)
}

// smaller is the limit that is reached first.
func (l Limit) smaller(other Limit) Limit {
	if !l.Limited() || (other.Limited() && other.Bytes < l.Bytes) {
		return other
	}
	return l
}

// MalformedError says that a file of the kernel does not hold what it should.
type MalformedError struct {
	// File is its path.
	File string
	// Text is what was found there.
	Text string
}

// Error names the file and what was found.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("/%s holds %q, which is not understood", e.File, e.Text)
}

// ReadMemoryLimit reads the limit of this process from a file system whose root
// is the machine's. It is the smallest of its cgroup and of all above it that
// can be seen. Where there are no cgroups there is no limit. The error is a
// [*MalformedError], or that of reading a file.
//
// Both versions of cgroups may be mounted at once (hybrid); the memory
// controller is in one of them only, and the other has no file to read.
func ReadMemoryLimit(root fs.FS) (Limit, error) {
	mounts, err := readMounts(root)
	if err != nil {
		return Limit{}, err
	}
	cgroups, err := readCgroups(root)
	if err != nil {
		return Limit{}, err
	}
	var limit Limit
	for _, m := range mounts {
		cgroup, joined := cgroups[m.version]
		if !joined {
			continue
		}
		directory, visible := m.directory(cgroup)
		if !visible {
			continue // another container's tree, or one from before this process was moved
		}
		found, err := limitAbove(root, m, directory)
		if err != nil {
			return Limit{}, err
		}
		limit = limit.smaller(found)
	}
	return limit, nil
}

// limitAbove is the smallest limit from directory up to the mount.
func limitAbove(root fs.FS, m mount, directory string) (Limit, error) {
	var limit Limit
	if m.version == 1 {
		// The kernel's own minimum, which counts what is above the mount too.
		found, err := readHierarchical(root, path.Join(directory, "memory.stat"))
		if err != nil {
			return Limit{}, err
		}
		limit = found
	}
	name := map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[m.version]
	for {
		file := path.Join(directory, name)
		found, err := readNumber(root, file, m.version)
		if err != nil {
			return Limit{}, err
		}
		// Of two that are equal the one that was set is named, not the minimum.
		if found.Bytes == limit.Bytes {
			limit = found
		}
		limit = limit.smaller(found)
		if directory == m.point || directory == "." {
			return limit, nil
		}
		directory = path.Dir(directory)
	}
}

// readNumber reads a file that holds one limit. One that is not there sets
// none: the root cgroup of v2 has no such file.
func readNumber(root fs.FS, file string, version int) (Limit, error) {
	content, err := fs.ReadFile(root, file)
	if errors.Is(err, fs.ErrNotExist) {
		return Limit{}, nil
	}
	if err != nil {
		return Limit{}, fmt.Errorf("reading the memory limit: %w", err)
	}
	return parseLimit(strings.TrimSpace(string(content)), file, version)
}

// readHierarchical reads hierarchical_memory_limit of a memory.stat of v1.
func readHierarchical(root fs.FS, file string) (Limit, error) {
	content, err := fs.ReadFile(root, file)
	if errors.Is(err, fs.ErrNotExist) {
		return Limit{}, nil
	}
	if err != nil {
		return Limit{}, fmt.Errorf("reading the memory limit: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, "hierarchical_memory_limit "); found {
			return parseLimit(strings.TrimSpace(value), file, 1)
		}
	}
	return Limit{}, nil
}

// noLimitV1 and above is how v1 writes that there is no limit: the largest
// number of whole pages, and pages differ in size.
const noLimitV1 = 1 << 62

func parseLimit(text, file string, version int) (Limit, error) {
	if version == 2 && text == "max" {
		return Limit{}, nil
	}
	bytes, err := strconv.ParseUint(text, 10, 64)
	if err != nil || bytes == 0 { // nothing runs in 0 bytes, so nobody reads it
		return Limit{}, &MalformedError{File: file, Text: text}
	}
	if bytes >= noLimitV1 {
		return Limit{}, nil
	}
	return Limit{Bytes: int64(bytes), Version: version, File: "/" + file}, nil
}
