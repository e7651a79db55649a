package procfs

import (
	"fmt"
	"os"
	"strings"
)

// Memory is what a process holds of the machine's memory, in bytes: all of it, with
// the pages of its executable, and what of that the kernel cannot drop and read
// again.
func Memory(pid int) (resident, anonymous int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		var name string
		var kilobytes int64
		if _, err := fmt.Sscan(line, &name, &kilobytes); err != nil {
			continue // most lines are of another kind
		}
		switch name {
		case "VmRSS:":
			resident = kilobytes << 10
		case "RssAnon:":
			anonymous = kilobytes << 10
		}
	}
	return resident, anonymous, nil
}
