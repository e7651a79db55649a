package main

import (
	"runtime"
	"syscall"
	"time"
)

// spin uses so much CPU time. Time in which the thread stands still, because it
// is throttled or another one runs, does not count.
func spin(work time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for end := threadTime() + work; threadTime() < end; {
		for range 20_000 { // some microseconds between two looks at the clock
		}
	}
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_THREAD, &usage) // fails only for a wrong argument
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
