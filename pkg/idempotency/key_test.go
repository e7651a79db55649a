package idempotency_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func TestParseKey(t *testing.T) {
	v7 := uuid.Must(uuid.NewV7()).String()
	for name, c := range map[string]struct {
		in    string
		err   error
		timed bool
	}{
		"a canonical UUIDv7":           {v7, nil, true},
		"in upper case it is opaque":   {strings.ToUpper(v7), nil, false},
		"without hyphens as well":      {strings.ReplaceAll(v7, "-", ""), nil, false},
		"in braces as well":            {"{" + v7 + "}", nil, false},
		"a UUIDv4":                     {uuid.NewString(), nil, false},
		"of another variant":           {v7[:19] + "0" + v7[20:], nil, false},
		"not hexadecimal":              {v7[:35] + "g", nil, false},
		"one character":                {"x", nil, false},
		"every visible character":      {`!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`", nil, false},
		"as long as allowed":           {strings.Repeat("k", 255), nil, false},
		"empty":                        {"", idempotency.ErrKeyMissing, false},
		"too long":                     {strings.Repeat("k", 256), idempotency.ErrKeyMalformed, false},
		"a space":                      {"a b", idempotency.ErrKeyMalformed, false},
		"a control character":          {"a\x00", idempotency.ErrKeyMalformed, false},
		"delete":                       {"a\x7f", idempotency.ErrKeyMalformed, false},
		"beyond ASCII":                 {"clé", idempotency.ErrKeyMalformed, false},
		"a UUIDv7 with white space in": {v7 + "\n", idempotency.ErrKeyMalformed, false},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := idempotency.ParseKey(c.in)
			require.ErrorIs(t, err, c.err)
			if c.err != nil {
				require.Zero(t, k)
				if len(c.in) > 4 {
					require.NotContains(t, err.Error(), c.in)
				}
				return
			}
			require.Equal(t, c.in, k.String())
			_, timed := k.UUID()
			require.Equal(t, c.timed, timed)
		})
	}
}

func TestAKeyKnowsWhenItWasMinted(t *testing.T) {
	at := time.Date(2026, 2, 28, 23, 59, 59, 999e6, time.UTC)
	minted, ok := idempotency.NewKeyAt(at).Minted()
	require.True(t, ok)
	require.Equal(t, at, minted)

	minted, ok = idempotency.NewKey().Minted()
	require.True(t, ok)
	require.WithinDuration(t, time.Now(), minted, time.Second)

	_, ok = key(t, "my-key").Minted()
	require.False(t, ok)
}

func TestUnquoteHeader(t *testing.T) {
	for in, want := range map[string]string{
		`"my-key"`:     `my-key`,
		` "my-key" `:   `my-key`,
		`my-key`:       `my-key`,
		`""`:           ``,
		`"a\"b\\c"`:    `a"b\c`,
		`"a"b"`:        `"a"b"`,
		`"a\x"`:        `"a\x"`,
		`"a\"`:         `"a\"`,
		`"`:            `"`,
		`"my-key";a=1`: `"my-key";a=1`,
		`'my-key'`:     `'my-key'`,
	} {
		require.Equal(t, want, idempotency.UnquoteHeader(in), in)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "k", `"k"`, `"a\"b"`, "018f3c4e-8a51-7c3e-9d2b-000000000000", "018F3C4E-8A51-7C3E-9D2B-000000000000", strings.Repeat("x", 256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		bare := idempotency.UnquoteHeader(s)
		if len(bare) > len(s) {
			t.Fatalf("unquoting %q made it longer: %q", s, bare)
		}
		k, err := idempotency.ParseKey(bare)
		if err != nil {
			return
		}
		if k.String() != bare {
			t.Fatalf("%q became %q", bare, k)
		}
		if id, timed := k.UUID(); timed {
			if id.String() != bare || id.Version() != 7 {
				t.Fatalf("%q was taken for the UUIDv7 %s", bare, id)
			}
			if at, _ := k.Minted(); idempotency.NewKeyAt(at).String()[:13] != bare[:13] {
				t.Fatalf("%q: wrong time %v", bare, at)
			}
		}
	})
}
