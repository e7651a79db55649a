package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command is how one part of the platform is run as a process of its own.
type Command struct {
	// Name is what people call it.
	Name string
	// Path is the executable; this very one if empty.
	Path string
	// Args follow the path.
	Args []string
	// Env is the whole environment.
	Env []string
	// Output takes standard output and standard error. A file is handed over as
	// it is, so that what is written outlives this process.
	Output io.Writer
}

// Process is a running command.
//
// It cannot be orphaned: its standard input is a pipe that only this process
// holds the other end of, so that however this process dies, the child reads
// the end of it and drains (see [Lifeline]). It has a process group of its own:
// a Ctrl-C in the terminal reaches this process only, which then stops its
// children in order.
type Process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// Start starts the command.
func Start(c Command) (*Process, error) {
	path := c.Path
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start %s: %w", c.Name, err)
		}
	}
	// Not CommandContext: a context would kill, and these are drained.
	cmd := exec.Command(path, c.Args...) //nolint:noctx // its life is ended by Stop and Kill
	cmd.Env = append(c.Env, lifelineVariable+"=stdin")
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = 2 * time.Second
	if _, err := cmd.StdinPipe(); err != nil { // closed by Wait, or by our death
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, cmd: cmd, exited: make(chan struct{})}
	go func() { // ends with the process; Exited tells
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how the process ended: nil for exit code 0. Only after Exited.
func (p *Process) Err() error {
	<-p.exited
	return p.err
}

// Stop asks the process to drain (SIGTERM) and waits for it; when ctx ends
// first, it is killed. An exit code other than 0 is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("stop %s: it had not drained and was killed: %w", p.name, context.Cause(ctx))
	}
	if p.err != nil {
		return fmt.Errorf("stop %s: %w", p.name, p.err)
	}
	return nil
}

// Kill ends the process at once, as `kill -9` does, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // gone already is as good
	<-p.exited
}

// lifelineVariable tells a child that its standard input is its lifeline.
const lifelineVariable = "HOLDFAST_LIFELINE"

// Lifeline makes this process drain when the one that started it is gone. It
// does nothing in a process that was not started by [Start].
func Lifeline() {
	if os.Getenv(lifelineVariable) != "stdin" {
		return
	}
	go func() { // lives as long as the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Signal(syscall.SIGTERM)
		}
	}()
}
