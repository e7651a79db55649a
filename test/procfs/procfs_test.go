//go:build linux

package procfs_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/procfs"
)

// TestWorkIsCounted: this process works until the kernel has counted it.
func TestWorkIsCounted(t *testing.T) {
	before, err := procfs.CPU(os.Getpid())
	require.NoError(t, err)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if now, err := procfs.CPU(os.Getpid()); err == nil && now > before {
			return
		}
	}
	require.Fail(t, "no work was counted")
}

func TestAProcessThatIsNotThereIsAnError(t *testing.T) {
	_, err := procfs.CPU(1 << 30)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestMemoryIsCounted(t *testing.T) {
	resident, anonymous, err := procfs.Memory(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, anonymous, int64(1<<20))
	require.Greater(t, resident, anonymous)
}
