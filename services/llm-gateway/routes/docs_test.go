package routes_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
)

// TestTheFilesInTheDocumentationAreRight reads the examples as the service would.
func TestTheFilesInTheDocumentationAreRight(t *testing.T) {
	page, err := os.ReadFile("../../../docs/llm-routes.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	require.Len(t, examples, 2)

	everything := environment("OPENAI_API_KEY", "a", "ANTHROPIC_API_KEY", "b", "VLLM_API_KEY", "c", "HOLDFAST_LLM_VLLM_URL", "http://vllm:8000")
	table := parse(t, string(examples[0][1]), everything)
	route, ok := table.Route("acme", "writer")
	require.True(t, ok)
	require.Equal(t, "writer-acme", route.Name)
	require.Equal(t, "http://vllm:8000/v1", route.Chain[0].Provider.BaseURL)
	require.Len(t, table.BudgetsOf("acme"), 2)
	require.Equal(t, []string{`a key of provider "openai" (line 2): file:/run/secrets/openai-spare is not set`}, dropped(table))

	// What the page says of defaults is what they are.
	plain := parse(t, two, keyed)
	bare, _ := plain.Route("t", "small")
	claude, _ := table.Route("t", "claude-opus-5-5")
	require.Equal(t, bare.Timeouts, claude.Timeouts)
	require.Equal(t, bare.Attempts, claude.Attempts)
	require.Equal(t, bare.Disconnect, claude.Disconnect)
	writer, _ := table.Route("t", "writer")
	require.Equal(t, [2]int64{bare.MaxTokens, bare.MaxTokensCap}, [2]int64{writer.MaxTokens, writer.MaxTokensCap})
	require.Equal(t, plain.Providers["b"].Keys[0].MaxConcurrent, table.Providers["openai"].Keys[0].MaxConcurrent)
	require.Equal(t, plain.Providers["b"].Keys[0].MaxQueued, table.Providers["openai"].Keys[0].MaxQueued)

	_, err = price.Parse("prices.yaml", examples[1][1])
	require.NoError(t, err)
	onlyOpenAI := parse(t, string(examples[0][1]), environment("OPENAI_API_KEY", "a"))
	require.NotContains(t, onlyOpenAI.Providers, "anthropic")
	require.NotContains(t, onlyOpenAI.Providers, "vllm")
}
