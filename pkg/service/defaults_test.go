package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAServiceHasDefaultsOfItsOwnAndTheEnvironmentWins(t *testing.T) {
	def := definition(&shop{})
	def.Defaults = map[string]string{"HOLDFAST_DRAIN_CAP": "5m", "HOLDFAST_LAME_DUCK": "7s"}
	for _, test := range []struct {
		given         map[string]string
		cap, lameDuck time.Duration
	}{
		{environment("HOLDFAST_DRAIN_CAP", "", "HOLDFAST_LAME_DUCK", ""), 5 * time.Minute, 7 * time.Second}, // set to nothing is not set
		{environment("HOLDFAST_DRAIN_CAP", "40s", "HOLDFAST_LAME_DUCK", ""), 40 * time.Second, 7 * time.Second},
		{environment("HOLDFAST_LAME_DUCK", "1s"), 5 * time.Second, time.Second},
	} {
		s, err := readSettings(def, test.given)
		require.NoError(t, err)
		require.Equal(t, test.cap, setting[Config](s).DrainCap)
		require.Equal(t, test.lameDuck, setting[Config](s).LameDuck)
	}
	t.Setenv("HOLDFAST_LAME_DUCK", "3s")
	require.Equal(t, map[string]string{"HOLDFAST_DRAIN_CAP": "5m", "HOLDFAST_LAME_DUCK": "3s"},
		map[string]string{"HOLDFAST_DRAIN_CAP": def.environment(nil)["HOLDFAST_DRAIN_CAP"], "HOLDFAST_LAME_DUCK": def.environment(nil)["HOLDFAST_LAME_DUCK"]})

	said, err := run(t, def, nil, "config")
	require.NoError(t, err)
	require.Regexp(t, `HOLDFAST_DRAIN_CAP +5m `, said)
	require.Regexp(t, `HOLDFAST_STOP_WORKERS +5s `, said)
}

func TestADefaultThatNothingReadsStopsTheStart(t *testing.T) {
	def := definition(&shop{})
	def.Defaults = map[string]string{"HOLDFAST_DRAIN_CAPP": "5m", "HOLDFAST_DATABASE_URL": "x"}
	_, err := run(t, def, environment())
	require.ErrorContains(t, err, "shop has a default of HOLDFAST_DRAIN_CAPP, which it does not read")
	require.ErrorContains(t, err, "HOLDFAST_DATABASE_URL")
}
