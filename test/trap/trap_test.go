package trap

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPointIsReadAsItIsWritten(t *testing.T) {
	require.Len(t, All(), 2*len(Steps))
	for _, p := range All() {
		read, err := Parse(p.String())
		require.NoError(t, err)
		require.Equal(t, p, read)
	}
	for _, text := range []string{"", "seal", "seal:before", "seal:during:1", "seal:before:0", "sale:before:1", "seal:before:1:2"} {
		_, err := Parse(text)
		require.ErrorContains(t, err, "is no point", text)
	}
}

func TestATrapIsSprungAtItsPointOnly(t *testing.T) {
	sprung := 0
	death := &Trap{point: Point{Seal, true, 3}, do: func() { sprung++ }, most: 1}
	for range 10 {
		death.pass(Seal, false)
		death.pass(Call, true)
	}
	require.Zero(t, sprung, "other steps, and the other side of its own")
	death.pass(Seal, true)
	death.pass(Seal, true)
	require.Zero(t, sprung)
	for range 10 {
		death.pass(Seal, true)
	}
	require.Equal(t, 1, sprung)
}

func TestAStallComesAgainAndEnds(t *testing.T) {
	sprung := 0
	stall := Stall(Point{Call, false, 2}, 0)
	stall.do = func() { sprung++ }
	for range 100 {
		stall.pass(Call, false)
	}
	require.Equal(t, mostStalls, sprung)
}

// What a step is, a drill shows, in which a replica dies at every one of them.
func TestOtherStatementsAreNoStep(t *testing.T) {
	for _, sql := range []string{
		"SELECT 1", "INSERT INTO orders (id) VALUES ($1)",
		"SELECT fpv, fingerprint FROM idempotency_keys WHERE key = $1",
		"UPDATE idempotency_keys SET lease_until = now() + $3::interval WHERE key = $1",
	} {
		require.Empty(t, stepOf(sql), sql)
	}
}
