//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == proxyCommand { // started by the test
		fmt.Fprintln(os.Stderr, serveProxy(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestEveryFigureIsThere, and none is out of this world. What they are worth is for
// longer runs to say.
func TestEveryFigureIsThere(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-short"}, &out, io.Discard))
	rows := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		if cells := strings.Split(strings.Trim(line, "| \n"), " | "); len(cells) > 4 {
			rows[cells[0]] = append(rows[cells[0]], line)
		}
	}
	require.Len(t, rows[smallRequest], 6, "CPU and latency of 1, 32 and 256 clients: %s", out.String())
	require.Len(t, rows[longPrompt], 2)
	for _, name := range []string{shortStream, longStream, shortTrickle, longTrickle, "a piece", "a piece that comes alone"} {
		require.Len(t, rows[name], 1, name)
	}
	for _, when := range []string{"20 more requests", "180 more requests", "4 more streams that were left", "36 more streams that were left"} {
		require.Len(t, rows[when], 1, when)
		resident, err := strconv.ParseFloat(strings.Split(rows[when][0], " | ")[1], 64)
		require.NoError(t, err)
		require.Greater(t, resident, 10.0, "megabytes of a Go program with a database and telemetry")
		require.Less(t, resident, 500.0)
	}
}

func TestPlansThatMeasureNothingAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-requests", "0"}, {"-many", "-1"}, {"-abandoned", "-1"}, {"-nonsense"}} {
		require.Error(t, run(t.Context(), args, io.Discard, io.Discard), args)
	}
}
