//go:build !unix

package local

import (
	"errors"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

// Pause would stop the process in its tracks; this system cannot.
func (p *Process) Pause() error { return errors.ErrUnsupported }

// Continue would let a paused process go on; this system cannot.
func (p *Process) Continue() error { return errors.ErrUnsupported }
