package sandbox

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCommandsTalkToARunningSandbox(t *testing.T) {
	s := startServer(t, testConfig(t))
	t.Setenv("HOLDFAST_PROBE_ADDR", s.probeAt.Addr().String())
	t.Setenv("HOLDFAST_ADMIN_ADDR", s.adAt.Addr().String())
	run := func(args ...string) error { return Run(t.Context(), args, io.Discard, io.Discard) }
	require.NoError(t, run("health"))
	require.NoError(t, run("drain"))
	require.ErrorContains(t, run("health"), "503")
	require.NoError(t, run("health", "live"))
	require.NoError(t, run("undrain"))
	require.NoError(t, run("health"))
	require.Error(t, run("dance"))
	require.Error(t, run("health", "drain"))
}

func TestMalformedVariablesAreReportedTogether(t *testing.T) {
	t.Setenv("HOLDFAST_LAME_DUCK", "soon")
	t.Setenv("HOLDFAST_DRAIN_CAP", "later")
	err := Run(t.Context(), nil, io.Discard, io.Discard)
	require.ErrorContains(t, err, "HOLDFAST_LAME_DUCK")
	require.ErrorContains(t, err, "HOLDFAST_DRAIN_CAP")
}

func TestEveryVariableIsPrinted(t *testing.T) {
	var out strings.Builder
	require.NoError(t, Run(t.Context(), []string{"config"}, &out, io.Discard))
	for _, name := range []string{"HOLDFAST_SANDBOX_HORIZON", "HOLDFAST_CPU_REQUEST", "GOMEMLIMIT", "GOMAXPROCS"} {
		require.Contains(t, out.String(), name)
	}
	require.NoError(t, Run(t.Context(), []string{"help"}, &out, io.Discard))
	require.Contains(t, out.String(), "undrain")
}
