//go:build unix

// Package watchdog runs a shell script when this process ends, however it
// ends: a return, a panic, a test timeout or kill -9.
//
// A shell waits on the reading end of a pipe whose writing end only this
// process holds. The kernel closes that end with the process, which no signal
// can prevent, and the script runs. It is how throw-away Postgres servers of
// tests are taken down without a TestMain in every package.
package watchdog

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// Watchdog is a script that waits for the end of this process.
type Watchdog struct {
	cmd  *exec.Cmd
	pipe *os.File
}

// armed keeps every pipe reachable: the garbage collector closes a file that
// nobody refers to, and that would fire the watchdog.
var armed sync.Map

// Start arms script, a POSIX shell script that sees args as $1, $2 and so on.
// It runs with the credential given (nil: that of this process), in a process
// group of its own so that Ctrl-C in a terminal does not reach it. It outlives
// ctx.
func Start(ctx context.Context, credential *syscall.Credential, script string, args ...string) (*Watchdog, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("opening the pipe of a watchdog: %w", err)
	}
	defer func() { _ = read.Close() }()

	argv := append([]string{"-c", "read -r _\n" + script, "holdfast-watchdog"}, args...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", argv...)
	cmd.Dir = "/"
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential}
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("starting a watchdog: %w", err)
	}
	armed.Store(write, nil)
	return &Watchdog{cmd: cmd, pipe: write}, nil
}

// Fire runs the script now and waits for its end.
func (w *Watchdog) Fire() error {
	armed.Delete(w.pipe)
	if err := w.pipe.Close(); err != nil {
		return fmt.Errorf("firing a watchdog: %w", err)
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("waiting for a watchdog: %w", err)
	}
	return nil
}
