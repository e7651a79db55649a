//go:build unix

package local

import (
	"fmt"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Pause stops the process in its tracks (SIGSTOP): it keeps everything that it
// has, answers nothing, and does not know. So a machine looks that swaps, or that
// is moved to another host.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Continue lets a paused process go on (SIGCONT).
func (p *Process) Continue() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %s to %s: %w", s, p.name, err)
	}
	return nil
}
