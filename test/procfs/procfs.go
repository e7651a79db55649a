// Package procfs reads what Linux tells of a process, for measurements.
package procfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the kernel's unit of CPU time, on every platform that Go runs on.
const tick = 10 * time.Millisecond

// CPU is the user and system time that a process has used so far, to a hundredth of
// a second.
func CPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, in brackets, may hold anything; fields are counted
	// after it: user and system time are the 14th and 15th of all
	// (proc_pid_stat(5)).
	fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is short", pid)
	}
	var used time.Duration
	for _, field := range fields[11:13] {
		ticks, _ := strconv.ParseInt(field, 10, 64) // the kernel writes numbers
		used += time.Duration(ticks) * tick
	}
	return used, nil
}
