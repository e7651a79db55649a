package flags

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(percentage string) string { return strings.Replace(good, "12.5", percentage, 1) }

// mounted is a file as Kubernetes mounts a ConfigMap: a link to a folder that
// is swapped for a link to another.
type mounted struct {
	t      *testing.T
	folder string
	n      int
}

func (m *mounted) path() string { return filepath.Join(m.folder, "flags.yaml") }

func (m *mounted) swap(content string) {
	m.t.Helper()
	m.n++
	version := filepath.Join(m.folder, "..version"+string(rune('0'+m.n)))
	require.NoError(m.t, os.Mkdir(version, 0o755))
	file := filepath.Join(version, "flags.yaml")
	require.NoError(m.t, os.WriteFile(file, []byte(content), 0o600))
	written := time.Unix(1_800_000_000+int64(m.n), 0) // file systems have coarse clocks
	require.NoError(m.t, os.Chtimes(file, written, written))
	data := filepath.Join(m.folder, "..data")
	require.NoError(m.t, os.Symlink(version, data+"_tmp"))
	require.NoError(m.t, os.Rename(data+"_tmp", data))
	if m.n == 1 {
		require.NoError(m.t, os.Symlink(filepath.Join("..data", "flags.yaml"), m.path()))
	}
}

func open(t *testing.T, file string) (*Flags, *logtest.Buffer) {
	t.Helper()
	logged := &logtest.Buffer{}
	f, err := New(t.Context(), Config{File: file}, []byte(at("0")), slog.New(slog.NewTextHandler(logged, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close(context.WithoutCancel(t.Context()))) })
	return f, logged
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, 10*time.Second, 20*time.Millisecond)
}

func TestTheFileIsReadAgainWhenItIsSwapped(t *testing.T) {
	t.Parallel()
	file := &mounted{t: t, folder: t.TempDir()}
	file.swap(at("0"))
	f, logged := open(t, file.path())
	require.False(t, f.On(t.Context(), "some-flag", "acme"))
	file.swap(at("100"))
	eventually(t, func() bool { return f.On(t.Context(), "some-flag", "acme") })
	file.swap(at("0"))
	eventually(t, func() bool { return !f.On(t.Context(), "some-flag", "acme") })
	require.Equal(t, 3, logged.Count("read the feature flags"))
}

func TestABadFileKeepsWhatHeldBeforeAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	mount := &mounted{t: t, folder: t.TempDir()}
	mount.swap(at("100"))
	builtIn, err := Parse([]byte(good))
	require.NoError(t, err)
	logged := &logtest.Buffer{}
	f := openFile(mount.path(), builtIn, slog.New(slog.NewTextHandler(logged, nil)))
	percentage := func() float64 {
		f.reload()
		return f.flags()["some-flag"].Percentage
	}
	mount.swap(at("50"))
	require.InDelta(t, 50, percentage(), 0)
	for i, bad := range []string{at("1000"), "", "flags: ["} {
		mount.swap(bad)
		for range 3 {
			require.InDelta(t, 50, percentage(), 0)
		}
		require.Equal(t, i+1, logged.Count("cannot be read; what held before holds"))
	}
	mount.swap(at("25"))
	require.InDelta(t, 25, percentage(), 0)
}

// TestAServiceStartsWithoutItsFile: flags change without a rollout, so a bad
// one must not wait for the next restart to bring the service down.
func TestAServiceStartsWithoutItsFile(t *testing.T) {
	t.Parallel()
	f, logged := open(t, filepath.Join(t.TempDir(), "none.yaml"))
	require.False(t, f.On(t.Context(), "some-flag", "acme"))
	require.Equal(t, 1, logged.Count("cannot be read"))
}

// TestReleasesShareAFile: while one is rolled out, both read it.
func TestReleasesShareAFile(t *testing.T) {
	t.Parallel()
	file := &mounted{t: t, folder: t.TempDir()}
	file.swap(strings.ReplaceAll(at("100"), "some-flag", "flag-of-the-next-release"))
	f, _ := open(t, file.path())
	require.False(t, f.On(t.Context(), "flag-of-the-next-release", "acme"), "a flag that is not built in has no code")
	require.False(t, f.On(t.Context(), "some-flag", "acme"), "a flag that is missing keeps what is built in")
}

func TestAFlagThatCannotBeAskedForIsOff(t *testing.T) {
	t.Parallel()
	logged := &logtest.Buffer{}
	f, err := New(t.Context(), Config{}, []byte(at("100")), slog.New(slog.NewTextHandler(logged, nil)))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(context.WithoutCancel(t.Context()))) }()
	require.True(t, f.On(t.Context(), "some-flag", "acme"))
	require.False(t, f.On(t.Context(), "no-such-flag", "acme"))
	require.False(t, f.On(t.Context(), "some-flag", ""), "nobody is no tenant")

	_, err = New(t.Context(), Config{}, []byte(at("-1")), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "the flags built in")
}

// TestTheProviderSaysWhy holds the file to what OpenFeature expects of
// every provider.
func TestTheProviderSaysWhy(t *testing.T) {
	t.Parallel()
	f, err := New(t.Context(), Config{}, []byte(at("100")), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(context.WithoutCancel(t.Context()))) }()
	acme := openfeature.NewEvaluationContext("acme", nil)

	details, err := f.client.BooleanValueDetails(t.Context(), "some-flag", false, acme)
	require.NoError(t, err)
	require.Equal(t, openfeature.SplitReason, details.Reason)
	require.Equal(t, "on", details.Variant)
	require.Equal(t, "orders", details.FlagMetadata["owner"])

	details, err = f.client.BooleanValueDetails(t.Context(), "no-such-flag", true, acme)
	require.Error(t, err)
	require.True(t, details.Value, "the caller's own default")
	require.Equal(t, openfeature.FlagNotFoundCode, details.ErrorCode)

	details, err = f.client.BooleanValueDetails(t.Context(), "some-flag", false, openfeature.EvaluationContext{})
	require.Error(t, err)
	require.Equal(t, openfeature.TargetingKeyMissingCode, details.ErrorCode)

	text, err := f.client.StringValueDetails(t.Context(), "some-flag", "mine", acme)
	require.Error(t, err)
	require.Equal(t, "mine", text.Value)
	require.Equal(t, openfeature.TypeMismatchCode, text.ErrorCode)
}
