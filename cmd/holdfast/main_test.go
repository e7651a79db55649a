package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// build makes the command as `make bin/holdfast` does. Running it, and not this
// test binary, keeps the race detector, which makes everything several times slower,
// out of the processes that are put under load.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "holdfast-command-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "holdfast")
	command := exec.Command("go", "build", "-tags", "faults", "-trimpath", "-o", path, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return path, fmt.Errorf("build the command: %w: %s", err, output)
	}
	return path, nil
})

// wasBuilt says that there is something to remove.
var wasBuilt atomic.Bool

// built is the path of the built command.
func built(t testing.TB) string {
	t.Helper()
	path, err := build()
	wasBuilt.Store(true)
	require.NoError(t, err)
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if wasBuilt.Load() {
		path, _ := build() // an error was seen by the test that built it
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// holdfast runs the command in this process.
func holdfast(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = run(t.Context(), args, &out, &problems)
	return code, out.String(), problems.String()
}

func TestWhatIsWrongIsOneLineThatSaysHowToMendIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"upp"}, `there is no command "upp": see holdfast --help`},
		{[]string{"drill", "rolling!"}, `there is no command "rolling!": see holdfast drill --help`},
		{[]string{"serve"}, "name one service: holdfast serve SERVICE"},
		{[]string{"serve", "nothing"}, `there is no service "nothing": the services are llm-gateway, orders, payments, sandbox`},
		{[]string{"migrate", "sandbox"}, "sandbox has no database"},
		{[]string{"config", "nothing"}, `there is no service "nothing"`},
		{[]string{"up", "--data", filepath.Join(file, "data")}, "name another place with --data DIR, or use --ephemeral"},
		{[]string{"drill", "rolling", "--sabotage", "luck"}, "drill rolling knows no-drain and no-readiness-flip"},
		{[]string{"drill", "rolling", "--rate", "0"}, "the rate is 0 a second, it must be above 0"},
		{[]string{"key", "new"}, "name one with --tenant or --service"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			code, stdout, stderr := holdfast(t, test.args...)
			require.Equal(t, 1, code)
			require.Empty(t, stdout)
			require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
			require.Contains(t, stderr, test.want)
		})
	}
}

func TestADatabaseThatCannotBeUsedIsOneLineWithoutItsPassword(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://user:hunter2@127.0.0.1:1/": "no Postgres lets us in at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; mend HOLDFAST_DATABASE_URL",
		"hunter2":                              "HOLDFAST_DATABASE_URL is not a connection string such as",
	} {
		t.Setenv("HOLDFAST_DATABASE_URL", url)
		code, _, stderr := holdfast(t, "up", "--ephemeral")
		require.Equal(t, 1, code)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		require.Contains(t, stderr, want)
		require.NotContains(t, stderr, "hunter2")
	}
}

func TestAKeyForPastesIsAUUIDv7(t *testing.T) {
	code, stdout, _ := holdfast(t, "uuid")
	require.Zero(t, code)
	id, err := uuid.Parse(strings.TrimSpace(stdout))
	require.NoError(t, err)
	require.EqualValues(t, 7, id.Version())
}

func TestANewKeysEntryDoesNotHoldTheKey(t *testing.T) {
	code, stdout, stderr := holdfast(t, "key", "new", "--tenant", "acme")
	require.Zero(t, code)
	require.Contains(t, stdout, "tenant: acme")
	fields := strings.Fields(stderr)
	token := fields[len(fields)-1]
	require.True(t, strings.HasPrefix(token, "hf_"), stderr)
	require.NotContains(t, stdout, token[strings.LastIndex(token, "_")+1:])
}

func TestEveryVariableHasAMeaning(t *testing.T) {
	settings, err := settingsOf([]string{"orders", "payments", "sandbox"})
	require.NoError(t, err)
	for _, s := range settings {
		ours := strings.HasPrefix(s.Name, "HOLDFAST_") || strings.HasPrefix(s.Name, "OTEL_") || strings.HasPrefix(s.Name, "GOM")
		require.True(t, ours, s.Name)
		require.NotEmpty(t, s.Doc, s.Name)
		require.True(t, s.Default == "" || !s.Secret, "%s: a secret has no default", s.Name)
	}
	code, stdout, _ := holdfast(t, "config", "orders")
	require.Zero(t, code)
	require.Contains(t, stdout, "HOLDFAST_PAYMENTS_TARGET")
	require.NotContains(t, stdout, "HOLDFAST_SANDBOX_DATA_DIR")
	require.NotContains(t, stdout, "\x1b", "no colours where there is no terminal")

	code, stdout, _ = holdfast(t, "config")
	require.Zero(t, code)
	require.Regexp(t, `HOLDFAST_DRAIN_CAP +5m +llm-gateway `, stdout, "a service has defaults of its own")
	require.Regexp(t, `HOLDFAST_DRAIN_CAP +20s +orders payments sandbox `, stdout)
}
