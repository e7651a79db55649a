package routes_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

// environment looks variables up in pairs.
func environment(pairs ...string) func(string) string {
	variables := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return variables[name] }
}

// keyed is an environment in which the keys of the tests' files are set.
var keyed = environment("KEY_A", "sk-a-secret", "KEY_B", "sk-b-secret", "HOLDFAST_SANDBOX_URL", "http://sandbox:8080/")

func parse(t *testing.T, text string, env func(string) string) *routes.Table {
	t.Helper()
	table, err := routes.Parse("routes.yaml", []byte(text), env)
	require.NoError(t, err)
	return table
}

// mistakes are the lines of what is wrong with a file.
func mistakes(t *testing.T, text string, env func(string) string) []string {
	t.Helper()
	table, err := routes.Parse("routes.yaml", []byte(text), env)
	require.Error(t, err)
	require.Nil(t, table)
	return strings.Split(err.Error(), "\n")
}

// two is a file of two providers and one route.
const two = `
providers:
  a:
    protocol: openai
    base_url: https://a.example/v1/
    keys:
      - {name: main, secret: "env:KEY_A", requests_per_minute: 60, tokens_per_minute: 1000, max_concurrent: 3, max_queued: 0}
      - {name: spare, secret: "env:KEY_B"}
  b:
    protocol: anthropic
    base_url: ${HOLDFAST_SANDBOX_URL}/llm/anthropic
    lookup_url: ${HOLDFAST_SANDBOX_URL}/llm/sends/{id}
    headers: {anthropic-beta: some-feature}
    max_concurrent: 9
    keys: [{name: main, secret: "sandbox:main"}]
routes:
  - name: chat
    models: [small, tiny]
    chain:
      - {provider: a, model: a-small, keys: [spare]}
      - {provider: b, model: b-small}
`
