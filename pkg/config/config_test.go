package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

type example struct {
	Environment config.Environment `env:"HOLDFAST_ENV" envDefault:"production" doc:"where it runs"`
	Address     string             `env:"HOLDFAST_ADDR,required" doc:"where it listens"`
	Patience    time.Duration      `env:"HOLDFAST_PATIENCE" envDefault:"2s" doc:"how long it waits"`
	Count       int                `env:"HOLDFAST_COUNT" envDefault:"3" doc:"how many"`
	Password    int                `env:"HOLDFAST_PASSWORD" secret:"true" doc:"not for eyes"`
	Inside      string             // not from the environment
}

func (e example) Validate() error {
	if e.Count > 100 {
		return errors.New("HOLDFAST_COUNT is more than 100")
	}
	return nil
}

func TestDefaultsHoldWhereNothingIsSet(t *testing.T) {
	e, err := config.Load[example](map[string]string{"HOLDFAST_ADDR": ":1"})
	require.NoError(t, err)
	require.Equal(t, example{Environment: config.Production, Address: ":1", Patience: 2 * time.Second, Count: 3}, e)
}

func TestTheProcessEnvironmentIsReadByDefault(t *testing.T) {
	t.Setenv("HOLDFAST_ADDR", ":2")
	t.Setenv("HOLDFAST_ENV", "development")
	e, err := config.Load[example]()
	require.NoError(t, err)
	require.Equal(t, ":2", e.Address)
	require.Equal(t, config.Development, e.Environment)
}

func TestEveryMistakeIsALineThatNamesItsVariable(t *testing.T) {
	_, err := config.Load[example](map[string]string{
		"HOLDFAST_ENV":      "staging",
		"HOLDFAST_PATIENCE": "long",
		"HOLDFAST_COUNT":    "many",
	})
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 4)
	for _, name := range []string{"HOLDFAST_ENV", "HOLDFAST_ADDR", "HOLDFAST_PATIENCE", "HOLDFAST_COUNT"} {
		require.ErrorContains(t, err, name)
	}
	require.ErrorContains(t, err, `HOLDFAST_PATIENCE is "long", must be a duration such as 1500ms or 2s`)
}

func TestMistakesOfSeveralStructsAreReportedTogether(t *testing.T) {
	type other struct {
		Size uint `env:"HOLDFAST_SIZE"`
	}
	var e example
	var o other
	err := config.Into([]any{&e, &o}, map[string]string{"HOLDFAST_SIZE": "-1"})
	require.ErrorContains(t, err, "HOLDFAST_ADDR")
	require.ErrorContains(t, err, "HOLDFAST_SIZE")
}

func TestASecretIsNeverRepeated(t *testing.T) {
	_, err := config.Load[example](map[string]string{"HOLDFAST_ADDR": ":1", "HOLDFAST_PASSWORD": "hunter2"})
	require.ErrorContains(t, err, "HOLDFAST_PASSWORD")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestValuesThatCouldNotWorkAreReported(t *testing.T) {
	_, err := config.Load[example](map[string]string{"HOLDFAST_ADDR": ":1", "HOLDFAST_COUNT": "101"})
	require.EqualError(t, err, "HOLDFAST_COUNT is more than 100")
}

func TestDescribeListsEachVariableOnceByName(t *testing.T) {
	variables := config.Describe(example{}, &example{})
	var names []string
	for _, v := range variables {
		names = append(names, v.Name)
	}
	require.Equal(t, []string{"HOLDFAST_ADDR", "HOLDFAST_COUNT", "HOLDFAST_ENV", "HOLDFAST_PASSWORD", "HOLDFAST_PATIENCE"}, names)
	require.Equal(t, config.Variable{Name: "HOLDFAST_PATIENCE", Default: "2s", Doc: "how long it waits"}, variables[4])
	require.True(t, variables[3].Secret)
}

type peer struct {
	Patience time.Duration `env:"PATIENCE" envDefault:"1s" doc:"how long it waits"`
}

type twoPeers struct {
	First  peer `envPrefix:"HOLDFAST_FIRST_"`
	Second peer `envPrefix:"HOLDFAST_SECOND_"`
}

// TestOneStructServesTwoPrefixes: both are read, listed, and named when wrong.
func TestOneStructServesTwoPrefixes(t *testing.T) {
	p, err := config.Load[twoPeers](map[string]string{"HOLDFAST_SECOND_PATIENCE": "2s"})
	require.NoError(t, err)
	require.Equal(t, twoPeers{First: peer{time.Second}, Second: peer{2 * time.Second}}, p)

	require.Equal(t, []config.Variable{
		{Name: "HOLDFAST_FIRST_PATIENCE", Default: "1s", Doc: "how long it waits"},
		{Name: "HOLDFAST_SECOND_PATIENCE", Default: "1s", Doc: "how long it waits"},
	}, config.Describe(twoPeers{}))

	_, err = config.Load[twoPeers](map[string]string{"HOLDFAST_SECOND_PATIENCE": "long"})
	require.EqualError(t, err, `HOLDFAST_SECOND_PATIENCE is "long", must be a duration such as 1500ms or 2s`)
}
