//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// fileLock is an flock(2). The kernel releases it with the process, so that a
// killed process never blocks the next one.
type fileLock struct{ file *os.File }

func openLock(path string) (*fileLock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &fileLock{file}, nil
}

// lockExclusive opens path and waits for the lock until ctx ends.
func lockExclusive(ctx context.Context, path string) (*fileLock, error) {
	lock, err := openLock(path)
	if err != nil {
		return nil, err
	}
	for {
		free, err := lock.try(syscall.LOCK_EX)
		if err != nil {
			lock.release()
			return nil, err
		}
		if free {
			return lock, nil
		}
		select {
		case <-ctx.Done():
			lock.release()
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// try takes the lock in the given mode without waiting, converting the one it
// may hold.
func (l *fileLock) try(mode int) (bool, error) {
	err := syscall.Flock(int(l.file.Fd()), mode|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("locking %s: %w", l.file.Name(), err)
	}
	return true, nil
}

func (l *fileLock) release() { _ = l.file.Close() }
