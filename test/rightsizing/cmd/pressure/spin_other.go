//go:build !linux

package main

import "time"

// spin uses a CPU for so long; only Linux tells what a thread has used.
func spin(work time.Duration) {
	for end := time.Now().Add(work); time.Now().Before(end); {
	}
}
