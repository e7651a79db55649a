package wire

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProvidersErrorIsReadWhateverItsShape(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      Protocol
		status int
		header http.Header
		body   string
		want   ProviderError
	}{
		{
			"openai", OpenAI, 429,
			http.Header{"X-Request-Id": {"req_1"}},
			`{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"credit_balance_exhausted"}}`,
			ProviderError{Type: "insufficient_quota", Code: "credit_balance_exhausted", Message: "You exceeded your current quota.", RequestID: "req_1"},
		},
		{
			"openai, no code", OpenAI, 400, nil, `{"error":{"message":"Bad.","type":"invalid_request_error","param":"n","code":null}}`,
			ProviderError{Type: "invalid_request_error", Message: "Bad."},
		},
		{
			"anthropic", Anthropic, 529,
			http.Header{"Request-Id": {"req_2"}},
			`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_2"}`,
			ProviderError{Type: "overloaded_error", Message: "Overloaded", RequestID: "req_2"},
		},
		{
			"anthropic, a limit of spending", Anthropic, 429, nil,
			`{"type":"error","error":{"type":"rate_limit_error","message":"You have reached your API usage limits.","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"req_3"}`,
			ProviderError{Type: "rate_limit_error", Code: "enforced_spend_limit_reached", Message: "You have reached your API usage limits.", RequestID: "req_3"},
		},
		{"a code that is a number", OpenAI, 400, nil, `{"error":{"message":"m","type":"BadRequestError","param":null,"code":400}}`, ProviderError{Type: "BadRequestError", Code: "400", Message: "m"}},
		{"an error at the top", OpenAI, 400, nil, `{"object":"error","message":"m","type":"t","code":"c"}`, ProviderError{Type: "t", Code: "c", Message: "m"}},
		{"an error in one word", OpenAI, 404, nil, `{"error":"model not found"}`, ProviderError{Message: "model not found"}},
		{"a detail", OpenAI, 422, nil, `{"detail":"Not Found"}`, ProviderError{Message: "Not Found"}},
		{"a list", OpenAI, 400, nil, `[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]`, ProviderError{Code: "400", Message: "m"}},
		{"no words", OpenAI, 500, nil, `{}`, ProviderError{Message: "the provider gave no explanation"}},
		{"more than one line", OpenAI, 500, nil, `{"error":{"message":" a\n\tb "}}`, ProviderError{Message: "a  b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := ReadError(c.p, c.status, c.header, []byte(c.body))
			require.True(t, json.Valid(e.Raw))
			e.Raw = nil
			c.want.Status = c.status
			require.Equal(t, c.want, *e)
		})
	}
}

func TestAnErrorWithoutJSONIsSensible(t *testing.T) {
	for _, c := range []struct{ name, kind, body, want string }{
		{"a page", "text/html; charset=utf-8", "<html><h1>502</h1></html>", "Bad Gateway, with a body of type text/html"},
		{"nothing", "text/html", " \n", "Bad Gateway, without a body"},
		{"words", "text/plain", "upstream connect error\n", "Bad Gateway: upstream connect error"},
		{"words with a key", "text/plain", "bad key sk-live-0123456789", "Bad Gateway: bad key [redacted]"},
		{"bytes", "", "\x00\x01", "Bad Gateway, with a body that is not JSON"},
		{"half of it", "application/json", `{"error":{"mess`, "Bad Gateway, with a body of type application/json"},
		{"too much of it", "application/json", `{"error":{"message":"` + strings.Repeat("x", maxErrorBody) + `"}}`, "Bad Gateway, with a body of type application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := ReadError(OpenAI, 502, http.Header{"Content-Type": {c.kind}}, []byte(c.body))
			require.Equal(t, &ProviderError{Status: 502, Message: c.want}, e)
		})
	}
	require.Equal(t, "status 529, without a body", ReadError(Anthropic, 529, nil, nil).Message)
}

func TestKeysAreTakenOutOfErrors(t *testing.T) {
	for _, secret := range []string{
		"sk-proj-abcDEF123456_-xyz", "sk-ant-api03-AAAA-bbbb_CC", "sk-live-****************6789", "gsk_0123456789abcdef", "xai-0123456789abcdef",
		"Bearer eyJhbGciOi.J9.c2ln", "AIzaSyA0123456789abcdefghij", "api_key=0123456789abcdef0123", "x-api-key: 0123456789abcdef0123", "Authorization: 0123456789abcdef0123",
	} {
		body, err := json.Marshal(map[string]any{"error": map[string]string{"message": "Incorrect API key provided: " + secret + ". You can find yours.", "type": "invalid_request_error"}})
		require.NoError(t, err)
		e := ReadError(OpenAI, 401, nil, body)
		tail := secret[len(secret)-8:]
		require.NotContains(t, e.Message, tail, secret)
		require.NotContains(t, e.Error(), tail)
		require.NotContains(t, string(e.Raw), tail)
		require.Contains(t, e.Message, "[redacted]")
		require.Contains(t, e.Message, "You can find yours.")
		require.True(t, json.Valid(e.Raw), "%s", e.Raw)
	}
	const harmless = "The task-force asked risk-averse desks for max_tokens: 100 and an API key."
	require.Equal(t, harmless, string(scrub([]byte(harmless))))
}

func TestALongMessageIsCut(t *testing.T) {
	e := ReadError(OpenAI, 400, nil, []byte(`{"error":{"message":"`+strings.Repeat("é", 2000)+`"}}`))
	require.LessOrEqual(t, len(e.Message), maxErrorMessage+len("…"))
	require.True(t, strings.HasSuffix(e.Message, "é…"))
}
