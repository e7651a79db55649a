package llm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnAnswerIsPaidForToTheNanoDollar(t *testing.T) {
	p := start(t, "")
	for path, model := range map[string]string{openAI: "sandbox-small", anthropic: "sandbox-large"} {
		for _, how := range []string{asStream, `"stream":false`} {
			a := p.ask(path, said(path, model, "say something", how))
			require.Equal(t, 200, a.status, a.body)
		}
	}
	require.Equal(t, p.invoiced(), p.settled())
	require.Positive(t, p.settled())
}
