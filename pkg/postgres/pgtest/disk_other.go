//go:build !linux

package pgtest

import (
	"context"
	"os"

	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
)

// mountTmpfs needs Linux.
func mountTmpfs(context.Context, *embedded.Server) (string, error) { return "", os.ErrPermission }
