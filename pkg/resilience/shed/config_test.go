package shed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

func TestTheDefaultsAreTheDefaults(t *testing.T) {
	cfg, err := config.Load[Config](map[string]string{})
	require.NoError(t, err)
	require.Equal(t, DefaultConfig(), cfg)
	for _, v := range config.Describe(Config{}) {
		require.NotEmpty(t, v.Doc)
	}
}

func TestEverySettingThatCouldNotWorkIsReportedAtOnce(t *testing.T) {
	_, err := config.Load[Config](map[string]string{
		"HOLDFAST_SHED_MIN": "0", "HOLDFAST_SHED_MAX": "-1", "HOLDFAST_SHED_INITIAL": "7", "HOLDFAST_SHED_MAX_WAIT": "1m",
	})
	for _, name := range []string{"HOLDFAST_SHED_MIN is 0", "HOLDFAST_SHED_MAX is -1", "HOLDFAST_SHED_INITIAL is 7", "HOLDFAST_SHED_MAX_WAIT is 1m0s"} {
		require.ErrorContains(t, err, name)
	}
	for name, c := range map[string]Config{
		"HOLDFAST_SHED_MAX":     {Min: 5, Initial: 5, Max: 4},
		"HOLDFAST_SHED_INITIAL": {Min: 5, Initial: 4, Max: 9},
		"HOLDFAST_SHED_MIN":     {Min: -1, Initial: 4, Max: 9},
	} {
		require.ErrorContains(t, c.Validate(), name)
	}
	require.NoError(t, Config{Min: 1, Initial: 1, Max: 1, MaxWait: time.Second}.Validate())
}
