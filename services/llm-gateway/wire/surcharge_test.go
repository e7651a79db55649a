package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatCostsMoreThanItsTokensIsNoticed(t *testing.T) {
	for _, row := range []struct {
		protocol  Protocol
		member    string
		surcharge string
	}{
		{OpenAI, `"service_tier":"priority"`, "service_tier"},
		{OpenAI, `"service_tier":"auto"`, ""},
		{OpenAI, `"service_tier":"flex"`, ""},
		{OpenAI, `"service_tier":null`, ""},
		{Anthropic, `"service_tier":"standard_only"`, ""},
		{Anthropic, `"service_tier":"reserved"`, "service_tier"},
		{Anthropic, `"speed":"fast"`, "speed"},
		{Anthropic, `"speed":"standard"`, ""},
		{OpenAI, `"speed":"fast"`, ""}, // not a member of this protocol
		{OpenAI, `"web_search_options":{}`, "web_search_options"},
		{OpenAI, `"modalities":["text"]`, ""},
		{OpenAI, `"modalities":["text","audio"]`, "modalities"},
		{OpenAI, `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`, ""},
		{Anthropic, `"tools":[{"name":"f","input_schema":{"type":"object"}},{"type":"custom","name":"g"}]`, ""},
		{Anthropic, `"tools":[{"name":"f"},{"type":"web_search_20250305","name":"web_search"}]`, "tools"},
		{Anthropic, `"tools":[{"\u0074ype":"web_search_20250305"}]`, "tools"},
		{Anthropic, `"tools":"?"`, ""}, // for the provider to refuse
	} {
		r, err := Scan(row.protocol, []byte(`{"model":"m",`+row.member+`,"max_tokens":5}`))
		require.NoError(t, err, row.member)
		require.Equal(t, row.surcharge, r.Surcharge, row.member)
		require.EqualValues(t, 5, r.MaxTokens, "what follows is read")
	}
}
