package routes_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// open writes a file and follows it, quickly.
func open(t *testing.T, text string, checks ...func(*routes.Table) error) (*routes.Source, func(string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	write := func(text string) {
		// As Kubernetes does: the new file takes the old one's name.
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write(text)
	source, err := routes.Open(file, keyed, slog.New(slog.DiscardHandler), checks...)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background()) // outlives the test's, which ends before cleanups
	done := make(chan struct{})
	go func() { defer close(done); source.Watch(ctx, 5*time.Millisecond) }()
	t.Cleanup(func() { cancel(); <-done })
	return source, write
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 20*time.Second, 2*time.Millisecond)
}

func TestANewFileIsInForceForTheNextRequestAndNotForThisOne(t *testing.T) {
	source, write := open(t, two)
	request := source.Current()
	write(two + `
  - name: new
    models: [new]
    chain: [{provider: b, model: new}]
`)
	eventually(t, func() bool { _, ok := source.Current().Route("t", "new"); return ok })
	_, ok := request.Route("t", "new")
	require.False(t, ok)
	require.NotEqual(t, request.Version, source.Current().Version)
}

func TestABadFileKeepsTheOldTableAndTheStatusSaysWhere(t *testing.T) {
	source, write := open(t, two)
	before := source.Current()
	write(two + "colour: red\n")
	eventually(t, func() bool { return source.Status().Why != nil })
	require.Same(t, before, source.Current())
	var mistake *routes.Mistake
	require.True(t, errors.As(source.Status().Why, &mistake))
	require.Equal(t, source.Status().File, mistake.File)
	require.Equal(t, 22, mistake.Line)
	write(two)
	eventually(t, func() bool { return source.Status().Why == nil })
}

func TestAKeyInAFileIsReadAgain(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte("old"), 0o600))
	source, _ := open(t, one("file:"+key, ""))
	secret := func() string { return source.Current().Providers["a"].Keys[0].Secret.Reveal() }
	require.Equal(t, "old", secret())
	require.NoError(t, os.WriteFile(key, []byte("new"), 0o600))
	eventually(t, func() bool { return secret() == "new" })
	require.NoError(t, os.Remove(key))
	eventually(t, func() bool { return source.Status().Why != nil })
	require.Equal(t, "new", secret())
}

func TestATargetWithoutAPriceKeepsTheOldTable(t *testing.T) {
	known := func(provider, model string) bool { return model != "unpriced" }
	source, write := open(t, two, func(table *routes.Table) error { return table.Unpriced(known) })
	write(two + `
  - name: new
    models: [unpriced, other]
    chain:
      - {provider: a, model: other}
      - {provider: b}
`)
	eventually(t, func() bool { return source.Status().Why != nil })
	require.EqualError(t, source.Status().Why, source.Status().File+`:27: route "new": there is no price for model "unpriced" of provider "b"`)
	_, ok := source.Current().Route("t", "other")
	require.False(t, ok)
}

func TestWhatIsNotInForceIsLoggedOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes.yaml")
	// With a file that a key comes from, the table is made twice: see document.Source.
	text := strings.Replace(optional, "env:KEY_K", "file:/nonexistent/key", 1)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	var log bytes.Buffer
	_, err := routes.Open(file, environment("KEY_A", "x", "KEY_L", "y"), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `line=5`)
}
