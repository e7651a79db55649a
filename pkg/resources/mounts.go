package resources

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// mount is where a part of a hierarchy of cgroups that limits memory is seen.
type mount struct {
	version int
	// root is the cgroup that is seen at point.
	root string
	// point is a directory, without the slash in front, as fs.FS wants it.
	point string
}

// directory is where a cgroup is seen, if it is at all.
func (m mount) directory(cgroup string) (_ string, visible bool) {
	if m.root == "/" {
		return path.Join(m.point, cgroup), !strings.HasPrefix(cgroup, "/..")
	}
	below, under := strings.CutPrefix(cgroup, m.root)
	if !under || (below != "" && below[0] != '/') {
		return "", false
	}
	return path.Join(m.point, below), true
}

const (
	mountsFile  = "proc/self/mountinfo"
	cgroupsFile = "proc/self/cgroup"
)

// readMounts returns the mounts that may limit memory. A system that has no
// such file has no cgroups.
func readMounts(root fs.FS) ([]mount, error) {
	lines, err := readLines(root, mountsFile)
	if err != nil {
		return nil, err
	}
	var mounts []mount
	for _, line := range lines {
		// 36 35 98:0 /root /point rw,noatime master:1 - type source super,options
		front, back, separated := strings.Cut(line, " - ")
		where, what := strings.Fields(front), strings.Fields(back)
		if !separated || len(where) < 6 || len(what) < 2 {
			return nil, &MalformedError{File: mountsFile, Text: line}
		}
		m := mount{root: unescape(where[3]), point: path.Clean(strings.TrimLeft(unescape(where[4]), "/"))}
		switch what[0] {
		case "cgroup2":
			m.version = 2
		case "cgroup":
			if !slices.Contains(strings.Split(what[len(what)-1], ","), "memory") {
				continue
			}
			m.version = 1
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// readCgroups returns which cgroup the process is in, by version.
func readCgroups(root fs.FS) (map[int]string, error) {
	lines, err := readLines(root, cgroupsFile)
	if err != nil {
		return nil, err
	}
	cgroups := map[int]string{}
	for _, line := range lines {
		// 4:memory,hugetlb:/path of v1, or 0::/path of v2; a path may have colons.
		fields := strings.SplitN(line, ":", 3)
		if len(fields) < 3 || !strings.HasPrefix(fields[2], "/") {
			return nil, &MalformedError{File: cgroupsFile, Text: line}
		}
		switch {
		case fields[0] == "0" && fields[1] == "":
			cgroups[2] = fields[2]
		case slices.Contains(strings.Split(fields[1], ","), "memory"):
			cgroups[1] = fields[2]
		}
	}
	return cgroups, nil
}

// readLines reads a file of the kernel; one that is not there has no lines.
func readLines(root fs.FS, file string) ([]string, error) {
	content, err := fs.ReadFile(root, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for cgroups: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// unescape undoes how the kernel writes white space in paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
