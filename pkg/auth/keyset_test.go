package auth

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/config"
)

var quiet = slog.New(slog.DiscardHandler)

// keyFile writes a key file.
func keyFile(t *testing.T, keys ...StoredKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	rewrite(t, file, document(t, keys...))
	return file
}

func document(t *testing.T, keys ...StoredKey) string {
	t.Helper()
	content, err := yaml.Marshal(map[string]any{"keys": keys})
	require.NoError(t, err)
	return string(content)
}

func rewrite(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
}

// later lets the key set look at its file again.
func later(s *KeySet) { s.checked.Store(time.Now().Add(-time.Hour).UnixNano()) }

func requireInvalid(t *testing.T, err error) {
	t.Helper()
	reason, _ := apierror.ReasonOf(err)
	require.Equal(t, apierror.ReasonCredentialsInvalid, reason, err)
}

func TestATokenIsItsPrincipals(t *testing.T) {
	token, stored := NewKey("acme", []string{"orders.read"}, false)
	serviceToken, service := NewKey("", []string{ScopeActAs}, true)
	keys, err := NewKeySet(Config{KeysFile: keyFile(t, stored, service)}, config.Production, quiet)
	require.NoError(t, err)

	p, err := keys.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, Principal{KeyID: stored.ID, Tenant: "acme", Scopes: []string{"orders.read"}}, p)
	require.True(t, p.Has("orders.read"))
	require.False(t, p.Has("orders.write"))
	p, err = keys.Verify(t.Context(), serviceToken)
	require.NoError(t, err)
	require.True(t, p.Service)
	require.Empty(t, p.Tenant)
}

func TestOtherTokensAreNobodys(t *testing.T) {
	token, stored := NewKey("acme", []string{"orders.read"}, false)
	otherToken, other := NewKey("globex", []string{"orders.read"}, false)
	keys, err := NewKeySet(Config{KeysFile: keyFile(t, stored, other)}, config.Production, quiet)
	require.NoError(t, err)
	_, secret, _ := splitToken(otherToken)
	for name, bad := range map[string]string{
		"empty":              "",
		"no prefix":          strings.TrimPrefix(token, "hf_"),
		"no secret":          "hf_" + stored.ID + "_",
		"no id":              "hf__" + secret,
		"prefix only":        "hf_",
		"cut":                token[:len(token)-1],
		"longer":             token + "0",
		"another's secret":   "hf_" + stored.ID + "_" + secret,
		"unknown id":         "hf_0000000000000000_" + secret,
		"the hash as secret": "hf_" + stored.ID + "_" + stored.Hash,
		"endless":            token + strings.Repeat("x", 1<<16),
		"development":        DevelopmentKey,
	} {
		p, err := keys.Verify(t.Context(), bad)
		requireInvalid(t, err)
		require.Zero(t, p, name)
	}
}

func TestTheSecretIsNotStored(t *testing.T) {
	token, stored := NewKey("acme", []string{"orders.read"}, false)
	_, secret, ok := splitToken(token)
	require.True(t, ok)
	require.Len(t, secret, 64, "256 bits")
	require.NotContains(t, document(t, stored), secret)
	again, _ := NewKey("acme", []string{"orders.read"}, false)
	require.NotEqual(t, token, again)
}

func TestProductionRefusesWhatEverybodyKnows(t *testing.T) {
	_, good := NewKey("acme", []string{"orders.read"}, false)
	known := good
	known.Hash = hashOf(developmentSecret)
	shouted := known
	shouted.Hash = strings.ToUpper(known.Hash)
	for name, cfg := range map[string]Config{
		"no keys":                          {},
		"a development service token":      {KeysFile: keyFile(t, good), ServiceToken: DevelopmentServiceKey},
		"a development key":                {KeysFile: keyFile(t, known)},
		"a development key, spelt in caps": {KeysFile: keyFile(t, shouted)},
		"every development key":            {KeysFile: keyFile(t, developmentKeys()...)},
	} {
		for _, environment := range []config.Environment{config.Production, ""} {
			_, err := NewKeySet(cfg, environment, quiet)
			require.Error(t, err, "%s in %q", name, environment)
			require.NotContains(t, err.Error(), developmentSecret)
		}
	}
	_, err := NewKeySet(Config{KeysFile: keyFile(t, good)}, config.Production, quiet)
	require.NoError(t, err, "the control")
}

func TestDevelopmentNeedsNoFile(t *testing.T) {
	keys, err := NewKeySet(Config{}, config.Development, quiet)
	require.NoError(t, err)
	for token, tenant := range map[string]string{DevelopmentKey: "acme", DevelopmentKeyOther: "globex", DevelopmentServiceKey: ""} {
		p, err := keys.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, tenant, p.Tenant)
		require.Equal(t, token == DevelopmentServiceKey, p.Service)
		require.Equal(t, token == DevelopmentServiceKey, p.Has(ScopeActAs))
	}
	require.Equal(t, DevelopmentServiceKey, Config{}.Token(config.Development))
	require.Empty(t, Config{}.Token(config.Production))
	require.Equal(t, "mine", Config{ServiceToken: "mine"}.Token(config.Development))
}

// brokenFiles are what a key file may become by mistake.
func brokenFiles(t *testing.T) map[string]string {
	_, good := NewKey("acme", []string{"orders.read"}, false)
	change := func(f func(*StoredKey)) string {
		k := good
		f(&k)
		return document(t, good, k)
	}
	return map[string]string{
		"empty":                "",
		"no keys":              "keys: []\n",
		"cut short":            "keys:\n- id: a\n  hash: [",
		"not YAML":             "\t{",
		"unknown field":        "keys:\n- {id: a, secret: b}\n",
		"two documents":        document(t, good) + "---\n" + document(t, good),
		"twice the same":       document(t, good, good),
		"no id":                change(func(k *StoredKey) { k.ID = "" }),
		"underscore in id":     change(func(k *StoredKey) { k.ID = "a_b" }),
		"hash of other size":   change(func(k *StoredKey) { k.ID, k.Hash = "b", "abcd" }),
		"hash that is none":    change(func(k *StoredKey) { k.ID, k.Hash = "b", strings.Repeat("x", 64) }),
		"nobody's":             change(func(k *StoredKey) { k.ID, k.Tenant = "b", "" }),
		"tenant's and service": change(func(k *StoredKey) { k.ID, k.Service = "b", true }),
		"odd tenant":           change(func(k *StoredKey) { k.ID, k.Tenant = "b", "ac me" }),
		"no scopes":            change(func(k *StoredKey) { k.ID, k.Scopes = "b", nil }),
	}
}

func TestABrokenKeyFileDoesNotStart(t *testing.T) {
	for name, content := range brokenFiles(t) {
		file := filepath.Join(t.TempDir(), "keys.yaml")
		rewrite(t, file, content)
		_, err := NewKeySet(Config{KeysFile: file}, config.Production, quiet)
		require.ErrorContains(t, err, file, name)
	}
	_, err := NewKeySet(Config{KeysFile: filepath.Join(t.TempDir(), "nowhere")}, config.Production, quiet)
	require.Error(t, err)
}

func TestABrokenReloadKeepsTheOldKeysAndSaysSo(t *testing.T) {
	for name, content := range brokenFiles(t) {
		t.Run(name, func(t *testing.T) {
			token, stored := NewKey("acme", []string{"orders.read"}, false)
			var log bytes.Buffer
			file := keyFile(t, stored)
			keys, err := NewKeySet(Config{KeysFile: file}, config.Production, slog.New(slog.NewTextHandler(&log, nil)))
			require.NoError(t, err)

			rewrite(t, file, content)
			later(keys)
			_, err = keys.Verify(t.Context(), token)
			require.NoError(t, err)
			require.Contains(t, log.String(), "level=ERROR")

			next, nextStored := NewKey("acme", []string{"orders.read"}, false)
			rewrite(t, file, document(t, nextStored)+"# mended\n")
			later(keys)
			_, err = keys.Verify(t.Context(), next)
			require.NoError(t, err, "a mended file is read")
		})
	}
}

func TestARemovedFileKeepsTheOldKeys(t *testing.T) {
	token, stored := NewKey("acme", []string{"orders.read"}, false)
	file := keyFile(t, stored)
	keys, err := NewKeySet(Config{KeysFile: file}, config.Production, quiet)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	later(keys)
	_, err = keys.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestAChangedFileIsReadAgain(t *testing.T) {
	old, oldStored := NewKey("acme", []string{"orders.read"}, false)
	file := keyFile(t, oldStored)
	keys, err := NewKeySet(Config{KeysFile: file}, config.Production, quiet)
	require.NoError(t, err)

	next, nextStored := NewKey("acme", []string{"orders.read", "orders.write"}, false)
	rewrite(t, file, document(t, nextStored))
	later(keys)
	_, err = keys.Verify(t.Context(), next)
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), old)
	requireInvalid(t, err)
}

func TestProductionDoesNotReloadIntoADevelopmentKey(t *testing.T) {
	token, stored := NewKey("acme", []string{"orders.read"}, false)
	file := keyFile(t, stored)
	keys, err := NewKeySet(Config{KeysFile: file}, config.Production, quiet)
	require.NoError(t, err)
	rewrite(t, file, document(t, developmentKeys()...))
	later(keys)
	_, err = keys.Verify(t.Context(), DevelopmentKey)
	requireInvalid(t, err)
	_, err = keys.Verify(t.Context(), token)
	require.NoError(t, err)
}
