package routes_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// TestNoWayOfPrintingShowsASecret prints a table, its keys, and a secret in a
// field that no method is called on.
func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	const text = "sk-a-secret"
	table := parse(t, two, keyed)
	key := table.Providers["a"].Keys[0]
	require.Equal(t, text, key.Secret.Reveal(), "there is something to show")
	hidden := struct{ inner any }{struct{ key routes.Key }{key}}
	var pointer any = &hidden

	var printed []string
	for _, value := range []any{key.Secret, &key.Secret, key, &key, table.Providers["a"], *table.Providers["a"], table, *table, hidden, pointer, []any{key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
			printed = append(printed, fmt.Sprintf(verb, value))
		}
		var failed failure
		assert.Equal(&failed, value, struct{ other any }{1})
		printed = append(printed, string(failed))
		marshalled, err := json.Marshal(value)
		require.NoError(t, err)
		printed = append(printed, string(marshalled))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("it", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("it", "value", value)
		printed = append(printed, log.String())
	}
	marshalled, err := yaml.Marshal(key)
	require.NoError(t, err)
	printed = append(printed, string(marshalled))
	marshalled, err = xml.Marshal(key)
	require.NoError(t, err)
	printed = append(printed, string(marshalled), fmt.Errorf("it: %v", key).Error())

	for _, p := range printed {
		require.NotContains(t, p, text)
		require.NotContains(t, strings.ToLower(p), fmt.Sprintf("%x", text))
	}
	require.Equal(t, "[redacted]", key.Secret.String())
	require.JSONEq(t, `"[redacted]"`, string(must(json.Marshal(key.Secret))))
}

// failure is what a failed assertion says.
type failure string

func (f *failure) Errorf(format string, values ...any) { *f += failure(fmt.Sprintf(format, values...)) }

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err) // a mistake of the test's author
	}
	return data
}

func TestSecretsAreEqualByTheirText(t *testing.T) {
	require.True(t, routes.NewSecret("a").Equal(routes.NewSecret("a")))
	require.False(t, routes.NewSecret("a").Equal(routes.NewSecret("b")))
	require.True(t, routes.Secret{}.Equal(routes.NewSecret("")))
}

// one is a file of a provider with one key, whose secret is given.
func one(secret, more string) string {
	return `
providers:
  a:
    protocol: openai
    base_url: https://a.example/v1
    ` + more + `
    keys:
      - name: main
        secret: ` + secret + `
routes:
  - name: chat
    models: [small]
    chain: [{provider: a}]
`
}

func TestASecretInTheFileIsRefusedAndNotRepeated(t *testing.T) {
	for _, secret := range []string{"sk-live-0123", `"sk-live-0123"`, "plain:sk-live-0123", "env:sk-live-0123", "file:sk-live-0123", "sandbox:sk-LIVE-0123", "[sk-live-0123]", "{sk-live-0123: x}", "sk-live-0123: {", `"sk-live-0123`, "!sk-live-0123 x"} {
		got := strings.Join(mistakes(t, one(secret, ""), keyed), "\n")
		require.NotContains(t, strings.ToLower(got), "live-0123", secret)
		require.Regexp(t, `^routes\.yaml:\d+: `, got, secret)
	}
	require.Equal(t, []string{
		`routes.yaml:9: provider "a": a key's secret must be env:NAME, file:/absolute/path or, for the sandbox, sandbox:name; the secret itself does not belong into this file`,
	}, mistakes(t, one("sk-live-0123", ""), keyed))
}

func TestASecretWithCharactersThatNoKeyHasIsAMistakeAndNotRepeated(t *testing.T) {
	for _, secret := range []string{"a b", "a\nb", "schlüssel", "\x00"} {
		require.Equal(t, []string{
			`routes.yaml:9: provider "a": a key's secret, env:KEY, has characters that no key has: is it the right one?`,
		}, mistakes(t, one("env:KEY", ""), environment("KEY", secret)))
	}
}

func TestASecretComesFromAFileWithoutItsLineEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("sk-from-file\r\n"), 0o600))
	table := parse(t, one("file:"+file, ""), keyed)
	require.Equal(t, "sk-from-file", table.Providers["a"].Keys[0].Secret.Reveal())
}

func TestAFileThatIsNoKeyIsAMistake(t *testing.T) {
	folder := t.TempDir()
	require.Equal(t, []string{
		`routes.yaml:9: provider "a": a key's secret: ` + folder + ` is not a regular file`,
	}, mistakes(t, one("file:"+folder, ""), keyed))
	require.Equal(t, []string{
		`routes.yaml:9: provider "a": a key's secret: /dev/zero is not a regular file`,
	}, mistakes(t, one("file:/dev/zero", ""), keyed))
	large := filepath.Join(folder, "large")
	require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte("x"), 20_000), 0o600))
	require.Equal(t, []string{
		`routes.yaml:9: provider "a": a key's secret: ` + large + ` has 20000 bytes, more than a key`,
	}, mistakes(t, one("file:"+large, ""), keyed))
}

func TestAProviderWithoutAnyKeyIsAMistakeUnlessItIsOptional(t *testing.T) {
	for _, secret := range []string{"env:NOT_SET", "file:/nonexistent/key"} {
		require.Equal(t, []string{
			`routes.yaml:3: provider "a": none of its keys is set: ` + secret + `; set one, or mark it optional`,
		}, mistakes(t, one(secret, ""), keyed))
		require.Equal(t, []string{
			`routes.yaml:11: no route is left: provider "a" (line 3): none of its keys is set: ` + secret,
		}, mistakes(t, one(secret, "optional: true"), keyed))
	}
}
