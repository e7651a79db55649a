package idempotency_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func deriver(t testing.TB, secrets string) *idempotency.Deriver {
	t.Helper()
	d, err := idempotency.NewDeriver(idempotency.Config{Secrets: secrets})
	require.NoError(t, err)
	return d
}

func TestWhateverRepeatsAStepRepeatsItUnderTheSameName(t *testing.T) {
	k := idempotency.NewKey()
	a, b := deriver(t, secretV1), deriver(t, secretV1)
	require.Equal(t, a.Child("acme", k, "charge"), b.Child("acme", k, "charge"))
	require.Equal(t, a.ProviderKey("acme", k, "charge"), b.ProviderKey("acme", k, "charge"))
	require.Equal(t, a.ResourceID("acme", k, "order"), b.ResourceID("acme", k, "order"))
}

func TestDerivedNamesDifferByEveryPart(t *testing.T) {
	d := deriver(t, secretV1)
	k := idempotency.NewKey()
	seen := map[string]string{}
	add := func(what string, key idempotency.Key) {
		t.Helper()
		require.Empty(t, seen[key.String()], what)
		seen[key.String()] = what
	}
	add("the parent", k)
	add("a step", d.Child("acme", k, "charge"))
	add("another step", d.Child("acme", k, "refund"))
	add("another tenant", d.Child("globex", k, "charge"))
	add("another key", d.Child("acme", idempotency.NewKey(), "charge"))
	add("another secret", deriver(t, secretV2).Child("acme", k, "charge"))
	add("parts that read alike", d.Child("acm", k, "echarge"))
	seen[d.ResourceID("acme", k, "charge").String()] += "a resource"
	require.Len(t, seen, 8, "a resource is not its key's child")
}

func TestTheChildOfAUUIDv7ExpiresWithItsParent(t *testing.T) {
	d := deriver(t, secretV1)
	parent := idempotency.NewKey()
	child := d.Child("acme", parent, "charge")
	_, timed := child.UUID()
	require.True(t, timed)
	want, _ := parent.Minted()
	got, _ := child.Minted()
	require.Equal(t, want, got)

	parsed, err := idempotency.ParseKey(child.String())
	require.NoError(t, err)
	require.Equal(t, child, parsed, "it survives the wire")

	id := d.ResourceID("acme", parent, "order")
	require.Equal(t, uuid.Version(7), id.Version())
	require.Equal(t, parent.String()[:13], id.String()[:13])
}

func TestTheChildOfAnOpaqueKeyIsOpaque(t *testing.T) {
	d := deriver(t, secretV1)
	parent := key(t, "my-key")
	child := d.Child("acme", parent, "charge")
	_, timed := child.UUID()
	require.False(t, timed)
	parsed, err := idempotency.ParseKey(child.String())
	require.NoError(t, err)
	require.Equal(t, child, parsed)
	id := d.ResourceID("acme", parent, "order")
	require.Equal(t, uuid.Version(8), id.Version())
	require.Equal(t, uuid.RFC4122, id.Variant())
}

func TestAProviderLearnsNoTimeFromItsKey(t *testing.T) {
	d := deriver(t, secretV1)
	k := idempotency.NewKey()
	got := d.ProviderKey("acme", k, "charge")
	require.NotContains(t, strings.ReplaceAll(got, "-", ""), strings.ReplaceAll(k.String()[:13], "-", ""))
	require.LessOrEqual(t, len(got), 64)
}

func TestSecretsAreCheckedAndNeverPrinted(t *testing.T) {
	hex := strings.Repeat("ab", 32)
	for _, bad := range []string{"", hex, "v1:", "v1:zz", "v1:" + hex[:62], "1:" + hex, "v0:" + hex, "v99999:" + hex, "v1:" + hex + ",v1:" + hex, "v1:" + hex + ","} {
		_, err := idempotency.NewDeriver(idempotency.Config{Secrets: bad})
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "abab")
		require.Contains(t, err.Error(), "HOLDFAST_DERIVATION_SECRETS")
	}
}
