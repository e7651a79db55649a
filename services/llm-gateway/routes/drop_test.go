package routes_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// optional is a file of a provider that must be there and two that need not.
const optional = `
providers:
  must: {protocol: openai, base_url: "https://m.example", keys: [{name: k, secret: "env:KEY_A"}, {name: l, secret: "env:KEY_L"}]}
  may: {protocol: openai, base_url: "https://o.example", optional: true, keys: [{name: k, secret: "env:KEY_K"}, {name: l, secret: "env:KEY_L"}]}
  box: {protocol: openai, base_url: "${HOLDFAST_SANDBOX_URL}/v1", optional: true, keys: [{name: k, secret: "sandbox:k"}]}
routes:
  - name: both
    models: [both]
    chain: [{provider: may}, {provider: must}]
  - name: only
    models: [only]
    chain: [{provider: may}, {provider: box}]
  - name: picky
    models: [picky]
    chain: [{provider: may, keys: [l]}, {provider: must, keys: [k]}]
`

func dropped(table *routes.Table) (all []string) {
	for _, d := range table.Dropped {
		all = append(all, d.String())
	}
	return all
}

func TestAnOptionalProviderWithoutAKeyLeavesItsChainsAndThatIsSaid(t *testing.T) {
	table := parse(t, optional, environment("KEY_A", "x"))
	require.NotContains(t, table.Providers, "may")
	require.NotContains(t, table.Providers, "box")
	both, ok := table.Route("t", "both")
	require.True(t, ok)
	require.Len(t, both.Chain, 1)
	require.Equal(t, "must", both.Chain[0].Provider.Name)
	_, ok = table.Route("t", "only")
	require.False(t, ok)
	require.Equal(t, []string{
		`a key of provider "must" (line 3): env:KEY_L is not set`,
		`provider "may" (line 4): none of its keys is set: env:KEY_K, env:KEY_L`,
		`provider "box" (line 5): HOLDFAST_SANDBOX_URL is not set`,
		`a link of route "both" (line 7): provider "may": none of its keys is set: env:KEY_K, env:KEY_L`,
		`route "only" (line 10): nobody is left to ask: provider "may": none of its keys is set: env:KEY_K, env:KEY_L; provider "box": HOLDFAST_SANDBOX_URL is not set`,
		`a link of route "picky" (line 13): provider "may": none of its keys is set: env:KEY_K, env:KEY_L`,
	}, dropped(table))
}

func TestALinkHasThoseOfItsKeysThatAreSet(t *testing.T) {
	table := parse(t, optional, environment("KEY_A", "x", "KEY_K", "y", "HOLDFAST_SANDBOX_URL", "http://sandbox"))
	picky, ok := table.Route("t", "picky")
	require.True(t, ok)
	require.Len(t, picky.Chain, 1)
	only, ok := table.Route("t", "only")
	require.True(t, ok)
	require.Len(t, only.Chain, 2)
	require.Equal(t, "http://sandbox/v1", only.Chain[1].Provider.BaseURL)
	require.Contains(t, dropped(table), `a link of route "picky" (line 13): provider "may": none of the link's keys is set`)
}

func TestALinkWithoutAnyKeyOfAProviderThatMustBeThereIsAMistake(t *testing.T) {
	require.Equal(t, []string{`routes.yaml:13: a link of route "picky": none of its keys is set`}, mistakes(t, `
providers:
  must:
    protocol: openai
    base_url: "https://m.example"
    keys:
      - {name: k, secret: "env:KEY_A"}
      - {name: l, secret: "env:KEY_L"}
routes:
  - name: picky
    models: [picky]
    chain:
      - {provider: must, keys: [l]}
`, environment("KEY_A", "x")))
}

func TestOnlyNamedVariablesMayStandInAnAddress(t *testing.T) {
	file := func(url string) string {
		return "providers:\n  a:\n    protocol: openai\n    base_url: " + url + "\n    keys: [{name: k, secret: \"sandbox:k\"}]\nroutes: [{name: r, models: [m], chain: [{provider: a}]}]\n"
	}
	env := environment("HOLDFAST_LLM_VLLM_URL", "http://vllm:8000/", "HOLDFAST_DATABASE_URL", "postgres://u:secret@db", "HOLDFAST_SANDBOX_URL", "ftp://x")
	table := parse(t, file("${HOLDFAST_LLM_VLLM_URL}/v1"), env)
	require.Equal(t, "http://vllm:8000/v1", table.Providers["a"].BaseURL)
	for url, mistake := range map[string]string{
		"${HOLDFAST_DATABASE_URL}":       `may name ${HOLDFAST_SANDBOX_URL} and ${HOLDFAST_LLM_…_URL}, not ${HOLDFAST_DATABASE_URL}`,
		"${HOLDFAST_LLM_OTHER_URL}/v1":   `: HOLDFAST_LLM_OTHER_URL is not set`,
		"http://$HOLDFAST_LLM_VLLM_URL":  `: a variable is written ${NAME}`,
		"http://${HOLDFAST_LLM_VLLM_URL": `: a variable is written ${NAME}`,
		"${HOLDFAST_SANDBOX_URL}/v1":     ` must be an http or https URL`,
		"https://user:secret@a.example":  ` may not hold a user or password: credentials are keys`,
		"https://a.example?key=secret":   ` may have no query and no fragment`,
		"https://a.example#secret":       ` may have no query and no fragment`,
		"https:///v1":                    ` must be an http or https URL`,
		"a.example/v1":                   ` must be an http or https URL`,
		"\"https://a b\"":                ` must be an http or https URL`,
	} {
		got := mistakes(t, file(url), env)
		require.Len(t, got, 1, url)
		require.Contains(t, got[0], `routes.yaml:4: provider "a": base_url`, url)
		require.Contains(t, got[0], mistake, url)
		require.NotContains(t, got[0], "secret", url)
	}
}
