package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
	"github.com/holdfast-dev/holdfast/pkg/postgres/internal/watchdog"
)

// mountTmpfs mounts 64 MB of memory as a disk and makes a folder "tables" on
// it that the server may use. It is unmounted when this process ends, after
// the server has been stopped by the test.
func mountTmpfs(ctx context.Context, server *embedded.Server) (string, error) {
	path, err := os.MkdirTemp("", "holdfast-disk-")
	if err != nil {
		return "", err
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64m,mode=0755"); err != nil {
		_ = os.Remove(path)
		return "", fmt.Errorf("mounting a tmpfs: %w", err)
	}
	if _, err := watchdog.Start(ctx, nil, `umount -l "$1"; rmdir "$1"`, path); err != nil {
		return "", err
	}
	tables := filepath.Join(path, "tables")
	if err := os.Mkdir(tables, 0o700); err != nil {
		return "", err
	}
	return path, server.Own(tables)
}
