package wire

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProblemIsSaidInEachProtocol(t *testing.T) {
	problem := Problem{Status: 429, Code: "budget_exhausted", Message: `The budget "team" is spent.`, RequestID: "0198"}
	require.Equal(t, `{"error":{"message":"The budget \"team\" is spent.","type":"rate_limit_error","param":null,"code":"budget_exhausted"}}`, string(OpenAI.ErrorBody(problem)))
	require.Equal(t, `{"type":"error","error":{"type":"rate_limit_error","message":"The budget \"team\" is spent.","details":{"error_code":"budget_exhausted"}},"request_id":"0198"}`, string(Anthropic.ErrorBody(problem)))
	require.Equal(t, `{"error":{"message":"m","type":"t","param":null,"code":null}}`, string(OpenAI.ErrorBody(Problem{Type: "t", Message: "m"})))
	require.Equal(t, `{"type":"error","error":{"type":"t","message":"m"}}`, string(Anthropic.ErrorBody(Problem{Type: "t", Message: "m"})))
}

func TestEveryStatusHasAWord(t *testing.T) {
	for status, want := range map[int][2]string{
		400: {"invalid_request_error", "invalid_request_error"},
		401: {"authentication_error", "authentication_error"},
		402: {"invalid_request_error", "billing_error"},
		403: {"permission_error", "permission_error"},
		404: {"invalid_request_error", "not_found_error"},
		409: {"invalid_request_error", "conflict_error"},
		413: {"invalid_request_error", "request_too_large"},
		422: {"invalid_request_error", "invalid_request_error"},
		429: {"rate_limit_error", "rate_limit_error"},
		500: {"server_error", "api_error"},
		501: {"server_error", "api_error"},
		503: {"server_error", "overloaded_error"},
		504: {"server_error", "timeout_error"},
		529: {"server_error", "overloaded_error"},
	} {
		require.Equal(t, want[0], OpenAI.errorType(status), "%d", status)
		require.Equal(t, want[1], Anthropic.errorType(status), "%d", status)
	}
}

// What the gateway sends in a stream, it understands as a provider's.
func TestWhatIsSentInAStreamIsUnderstood(t *testing.T) {
	for _, p := range []Protocol{OpenAI, Anthropic} {
		problem := Problem{Status: http.StatusGatewayTimeout, Type: "timeout_error", Code: "generation_interrupted", Message: "The provider stopped.", RequestID: "0198"}
		stream := append(append(p.PingEvent(), p.ErrorEvent(problem)...), "data: [DONE]\n\n"[:0]...)
		s, kinds, _ := follow(t, p, stream)
		require.Equal(t, []Kind{Ping, Failure}, kinds)
		require.Equal(t, "generation_interrupted", s.Failed().Code)
		require.Equal(t, "timeout_error", s.Failed().Type)
		require.Equal(t, "The provider stopped.", s.Failed().Message)
		require.Equal(t, http.StatusGatewayTimeout, s.Failed().Status)
	}
}

func TestAProtocolHasAName(t *testing.T) {
	for _, p := range []Protocol{OpenAI, Anthropic} {
		again, err := ParseProtocol(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	}
	_, err := ParseProtocol("grpc")
	require.EqualError(t, err, `protocol "grpc": want openai or anthropic`)
	require.Equal(t, "protocol(0)", Protocol(0).String())
}
