//go:build faults

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatCannotBeBrokenIsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"serve orders --die-at nowhere":           `"nowhere" is no point: it is STEP:before:N or STEP:after:N`,
		"serve payments --stall-at seal:before:0": `"seal:before:0" is no point`,
		"serve sandbox --die-at seal:before:1":    "no trap can be set in sandbox",
		"serve orders --without luck":             `there is no safeguard "luck": there are epoch, seal and reservation`,
		"serve orders --sabotage luck":            `no service knows the sabotage "luck"`,
	} {
		code, _, stderr := holdfast(t, strings.Fields(args)...)
		require.Equal(t, 1, code, args)
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		require.Contains(t, stderr, want)
	}
}
