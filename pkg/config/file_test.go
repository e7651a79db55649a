package config_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

func TestAFilesVersionChangesWithTheFileAndOnlyThen(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(folder, "current")
	write := func(name, content string, at time.Time) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
		return path
	}
	version := func() string {
		v, err := config.FileVersion(link)
		require.NoError(t, err)
		return v
	}
	noon := time.Unix(1_800_000_000, 0)

	none, err := config.FileVersion(link)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Symlink(write("a", "one", noon), link))
	first := version()
	require.NotEqual(t, none, first, "it came")
	require.Equal(t, first, version())

	write("a", "two", noon.Add(time.Second))
	second := version()
	require.NotEqual(t, first, second, "it was written again")
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(write("b", "three", noon.Add(time.Second)), link))
	require.NotEqual(t, second, version(), "the link was swapped")
}
