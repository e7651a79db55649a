package routes_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

func TestProvidersAreWhatTheFileSays(t *testing.T) {
	table := parse(t, two, keyed)
	a, b := table.Providers["a"], table.Providers["b"]
	require.Equal(t, wire.OpenAI, a.Protocol)
	require.Equal(t, "https://a.example/v1", a.BaseURL)
	require.Equal(t, "max_completion_tokens", a.MaxTokensField)
	require.Len(t, a.Keys, 2)
	require.Equal(t, "sk-a-secret", a.Keys[0].Secret.Reveal())
	require.Equal(t, [4]int64{60, 1000, 3, 0}, [4]int64{a.Keys[0].RequestsPerMinute, a.Keys[0].TokensPerMinute, int64(a.Keys[0].MaxConcurrent), int64(a.Keys[0].MaxQueued)})
	require.Equal(t, [4]int64{0, 0, 64, 128}, [4]int64{a.Keys[1].RequestsPerMinute, a.Keys[1].TokensPerMinute, int64(a.Keys[1].MaxConcurrent), int64(a.Keys[1].MaxQueued)}, "the defaults")

	require.Equal(t, wire.Anthropic, b.Protocol)
	require.Equal(t, "http://sandbox:8080/llm/anthropic", b.BaseURL)
	require.Equal(t, "http://sandbox:8080/llm/sends/{id}", b.Lookup)
	require.Equal(t, map[string]string{"Anthropic-Beta": "some-feature"}, b.Headers)
	require.Equal(t, 9, b.MaxConcurrent)
	require.Equal(t, "sandbox-main", b.Keys[0].Secret.Reveal())
	require.Empty(t, table.Dropped)
}

func TestARouteThatSaysNothingHasTheDefaults(t *testing.T) {
	table := parse(t, two, keyed)
	route, ok := table.Route("anybody", "tiny")
	require.True(t, ok)
	require.Equal(t, "chat", route.Name)
	require.Equal(t, []string{"*"}, route.Tenants)
	require.Equal(t, routes.Timeouts{Connect: 5 * time.Second, FirstToken: time.Minute, Idle: 30 * time.Second, Total: 5 * time.Minute}, route.Timeouts)
	require.Equal(t, 4, route.Attempts)
	require.EqualValues(t, 4096, route.MaxTokens)
	require.EqualValues(t, 32768, route.MaxTokensCap)
	require.Equal(t, routes.Cancel, route.Disconnect)
	require.Zero(t, route.DrainBound)

	require.Len(t, route.Chain, 2)
	require.Same(t, table.Providers["a"], route.Chain[0].Provider)
	require.Equal(t, "a-small", route.Chain[0].Model)
	require.Equal(t, "spare", route.Chain[0].Keys[0].Name)
	require.Len(t, route.Chain[0].Keys, 1)
	require.Equal(t, "main", route.Chain[1].Keys[0].Name)
	_, ok = table.Route("anybody", "a-small")
	require.False(t, ok, "what a provider calls it is no name for clients")
}

func TestTheFilesDefaultsAreBetweenTheRoutesAndOurs(t *testing.T) {
	table := parse(t, two+`
  - name: slow
    models: [slow]
    chain: [{provider: b, model: b-slow}]
    timeouts: {total: 30m}
    max_tokens: 60000
    disconnect: drain
  - name: long
    models: [long]
    chain: [{provider: b, model: b-long}]
    disconnect: detach
  - name: short
    models: [short]
    chain: [{provider: b, model: b-short}]
    max_tokens_cap: 50
defaults:
  timeouts: {idle: 7s}
  attempts: 2
  max_tokens: 100
  disconnect: drain
  drain_bound: 3s
`, keyed)
	slow, _ := table.Route("t", "slow")
	require.Equal(t, routes.Timeouts{Connect: 5 * time.Second, FirstToken: time.Minute, Idle: 7 * time.Second, Total: 30 * time.Minute}, slow.Timeouts)
	require.Equal(t, 2, slow.Attempts)
	require.EqualValues(t, 60000, slow.MaxTokens)
	require.EqualValues(t, 60000, slow.MaxTokensCap, "the cap is not below what the route says without a bound")
	require.Equal(t, 10*time.Second, slow.DrainBound, "the route says drain anew")
	small, _ := table.Route("t", "small")
	require.Equal(t, routes.Drain, small.Disconnect)
	require.Equal(t, 3*time.Second, small.DrainBound)
	require.EqualValues(t, 100, small.MaxTokens)
	short, _ := table.Route("t", "short")
	require.EqualValues(t, 50, short.MaxTokens, "nor is the default above the route's cap")
	long, _ := table.Route("t", "long")
	require.Zero(t, long.DrainBound)
	require.Equal(t, "detach", long.Disconnect.String())
}

func TestALinkWithoutAModelPassesOnTheClients(t *testing.T) {
	table := parse(t, strings.Replace(two, "{provider: b, model: b-small}", "{provider: b}", 1), keyed)
	for _, model := range []string{"small", "tiny"} {
		route, ok := table.Route("t", model)
		require.True(t, ok)
		require.Equal(t, "chat", route.Name)
		require.Equal(t, []string{model}, route.Models)
		require.Equal(t, "a-small", route.Chain[0].Model)
		require.Equal(t, model, route.Chain[1].Model)
	}
	require.Len(t, table.Routes, 2)
}

func TestATenantsOwnRouteGoesBeforeEverybodys(t *testing.T) {
	table := parse(t, two+`
  - name: acme
    models: [small, own]
    tenants: [acme]
    chain: [{provider: b, model: b-acme}]
`, keyed)
	name := func(tenant, model string) string {
		route, ok := table.Route(tenant, model)
		if !ok {
			return ""
		}
		return route.Name
	}
	require.Equal(t, "acme", name("acme", "small"))
	require.Equal(t, "chat", name("acme", "tiny"))
	require.Equal(t, "acme", name("acme", "own"))
	require.Equal(t, "chat", name("other", "small"))
	require.Empty(t, name("other", "own"))

	listed := func(tenant string) (names []string) {
		for _, m := range table.Models(tenant) {
			names = append(names, m.Name+"="+m.Route.Name)
		}
		return names
	}
	require.Equal(t, []string{"own=acme", "small=acme", "tiny=chat"}, listed("acme"))
	require.Equal(t, []string{"small=chat", "tiny=chat"}, listed("other"))
	require.Equal(t, []string{"small=chat", "tiny=chat"}, listed("*"), "nobody is called so")
}

func TestTheVersionIsThatOfTheContent(t *testing.T) {
	one := parse(t, two, keyed)
	require.Len(t, one.Version, 12)
	require.Equal(t, one.Version, parse(t, two, keyed).Version)
	require.NotEqual(t, one.Version, parse(t, two+"# a word more\n", keyed).Version)
}

func TestAllThatIsWrongIsToldAtOnceWithItsLine(t *testing.T) {
	text, err := os.ReadFile("testdata/mistakes.yaml")
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/mistakes.txt")
	require.NoError(t, err)
	_, err = routes.Parse("mistakes.yaml", text, keyed)
	require.Equal(t, strings.Split(strings.TrimSpace(string(want)), "\n"), strings.Split(err.Error(), "\n"))
	var mistake *routes.Mistake
	require.True(t, errors.As(err, &mistake))
	require.Equal(t, 2, mistake.Line)
}
