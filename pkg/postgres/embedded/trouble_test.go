package embedded

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startFails returns the one line that Start fails with.
func startFails(t *testing.T, opts Options) string {
	t.Helper()
	opts.Log = slog.New(slog.DiscardHandler)
	server, err := Start(t.Context(), opts)
	if err == nil {
		_ = server.Stop(context.Background())
	}
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
	return err.Error()
}

func TestAnUnusableDataFolderIsOneClearLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	closed := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	if os.Geteuid() != 0 {
		require.NoError(t, os.Chmod(closed, 0o500))
	}
	for name, test := range map[string]struct{ dir, reason string }{
		"below a file":                   {filepath.Join(file, "pg"), "not a directory"},
		"that the account may not enter": {filepath.Join(closed, "pg"), "ermission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			line := startFails(t, Options{DataDir: test.dir})
			require.Contains(t, line, test.dir)
			require.Contains(t, line, test.reason)
			require.Contains(t, line, "HOLDFAST_DATABASE_URL")
		})
	}
}

func TestABlockedDownloadNamesItsURLAndTheWayOut(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	refusing := closed.URL
	closed.Close()
	forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer forbidden.Close()

	none := func(context.Context) []Binaries { return nil }
	for name, test := range map[string]struct{ repository, reason string }{
		"refused connection": {refusing, "connection refused"},
		"forbidden":          {forbidden.URL, "403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			line := startFails(t, Options{Ephemeral: true, Repository: test.repository, CacheDir: t.TempDir(), find: none})
			require.Contains(t, line, test.repository+"/io/zonky/test/postgres/")
			require.Contains(t, line, test.reason)
			require.Contains(t, line, "HOLDFAST_DATABASE_URL")
		})
	}
}

func TestADownloadThatIsNoArchiveNamesItsURL(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // the library leaves a log there
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("<html>please log in to the network</html>"))
	}))
	defer liar.Close()
	none := func(context.Context) []Binaries { return nil }
	line := startFails(t, Options{Ephemeral: true, Repository: liar.URL, CacheDir: t.TempDir(), find: none})
	require.Contains(t, line, liar.URL)
	require.Contains(t, line, "not a valid zip file")
}

func TestASettingTheServerRefusesIsOneClearLine(t *testing.T) {
	t.Parallel()
	line := startFails(t, Options{Ephemeral: true, Settings: map[string]string{"shared_buffers": "lots"}})
	require.Contains(t, line, `invalid value for parameter "shared_buffers"`)
}

func TestBinariesOlderThanTheSQLAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) 13.4'\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700))
	}
	require.Contains(t, startFails(t, Options{Ephemeral: true, BinDir: dir}), "older than PostgreSQL 15")
}
