package main

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/drill"
)

func TestAProcessIsSeenToUseCPUAndMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what is measured on this machine is measured by /proc")
	}
	self := service{name: "self", pid: os.Getpid()}
	before, err := self.usage(t.Context())
	require.NoError(t, err)
	kept := make([]byte, 64<<20)
	for n := range kept { // work, and pages that the kernel has to give
		kept[n] = byte(n)
	}
	for after := before; after.cpu <= before.cpu; { // ticks are coarse
		after, err = self.usage(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, after.anonymous-before.anonymous, int64(60<<20))
		require.GreaterOrEqual(t, after.resident, after.anonymous)
	}
	runtime.KeepAlive(kept)
}

func TestAProcessThatIsGoneIsAnError(t *testing.T) {
	_, err := service{name: "gone", pid: 1 << 30}.usage(t.Context())
	require.Error(t, err)
}

func TestMetricsWithoutLabelsAreRead(t *testing.T) {
	metrics, err := parseMetrics(strings.NewReader("# HELP a b\ngo_goroutines 17\nx{y=\"z\"} 3\ngo_memstats_heap_inuse_bytes 1.5e+07\n"))
	require.NoError(t, err)
	require.InDelta(t, 17, metrics["go_goroutines"], 0)
	require.InDelta(t, 1.5e7, metrics["go_memstats_heap_inuse_bytes"], 0)
}

func TestARateIsHeldOnlyIfNothingFailsAndAnswersAreQuick(t *testing.T) {
	good := drill.Phase{P50: 0.02, P99: 1.2}
	for name, c := range map[string]struct {
		change func(*drill.Phase)
		want   bool
	}{
		"well served":   {func(*drill.Phase) {}, true},
		"one failed":    {func(p *drill.Phase) { p.Failed = 1 }, false},
		"slow":          {func(p *drill.Phase) { p.P50 = 0.4 }, false},
		"slow for some": {func(p *drill.Phase) { p.P99 = 3 }, false},
	} {
		phase := good
		c.change(&phase)
		require.Equal(t, c.want, holds(&drill.Verdict{Phases: []drill.Phase{phase}}), name)
	}
}

func TestMistakenArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-rates", "fast"}, {"-rates", "0"}, {"-step", "0"}, {"-for", "1ms"}, {"-what"}} {
		_, err := parse(args, &strings.Builder{})
		require.Error(t, err, args)
	}
	p, err := parse([]string{"-rates", "50,200"}, &strings.Builder{})
	require.NoError(t, err)
	require.Equal(t, []float64{50, 200}, p.rates)
}
