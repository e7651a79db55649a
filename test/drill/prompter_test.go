package drill

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	"github.com/holdfast-dev/holdfast/test/load"
)

// A whole answer in each protocol, of as many words as are asked for below.
const (
	openAIAnswer = `data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"choices":[{"delta":{"content":"one two three"},"finish_reason":null}]}

data: {"choices":[{"delta":{"content":" four"},"finish_reason":null}]}

data: {"choices":[{"delta":{},"finish_reason":"stop"}]}

data: [DONE]

`
	anthropicAnswer = `event: message_start
data: {"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":3}}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"one two three four"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

`
)

var fourWords = prompt{text: "count", words: 4}

// asking is a prompter of a gateway that answers with these bytes.
func asking(t *testing.T, answer string) *prompter {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key" && r.Header.Get("X-Api-Key") != "key" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Holdfast-Version", "v1")
		_, _ = w.Write([]byte(answer)) // whoever asked may be gone
	}))
	t.Cleanup(server.Close)
	return prompterOf(t, PromptTarget{HTTP: strings.TrimPrefix(server.URL, "http://"), GRPC: "127.0.0.1:1"})
}

func prompterOf(t *testing.T, target PromptTarget) *prompter {
	t.Helper()
	target.Credential = "key"
	p, err := newPrompter(target, PromptOptions{Streams: 1, Shortest: time.Second, Longest: time.Second})
	require.NoError(t, err)
	t.Cleanup(p.close)
	return p
}

func TestAGenerationThatEndsAsItsProtocolEndsIsWhole(t *testing.T) {
	for d, answer := range map[*dialect]string{&openAI: openAIAnswer, &anthropic: anthropicAnswer} {
		verdict := asking(t, answer).overHTTP(t.Context(), *d, fourWords)
		require.Nil(t, verdict.Failure, d.path)
		require.Equal(t, "v1", verdict.Version)
	}
}

// TestAGenerationIsCutOffWhereverItStops takes away the end, a line at a time:
// nothing but all of it is whole.
func TestAGenerationIsCutOffWhereverItStops(t *testing.T) {
	for d, answer := range map[*dialect]string{&openAI: openAIAnswer, &anthropic: anthropicAnswer} {
		lines := strings.SplitAfter(strings.TrimRight(answer, "\n"), "\n")
		for n := range lines {
			verdict := asking(t, strings.Join(lines[:n], "")).overHTTP(t.Context(), *d, fourWords)
			require.NotNil(t, verdict.Failure, "%s ended after %d lines", d.path, n)
			require.Equal(t, load.Closed, verdict.Failure.Kind)
		}
	}
}

func TestWhatIsWrongWithAGenerationIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		dialect      dialect
		answer, kind string
	}{
		"an error of OpenAI's":       {openAI, "data: {\"error\":{\"type\":\"server_error\",\"code\":\"overloaded\"}}\n\n", "event server_error overloaded"},
		"an error of Anthropic's":    {anthropic, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n", "event overloaded_error"},
		"an answer that is too long": {openAI, strings.Replace(openAIAnswer, `"stop"`, `"length"`, 1), load.WrongAnswer},
		"an answer that is short":    {anthropic, strings.Replace(anthropicAnswer, "one two three four", "", 1), load.WrongAnswer},
		"a chunk that is no JSON":    {openAI, "data: {\n\n", load.Broken},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := asking(t, c.answer).overHTTP(t.Context(), c.dialect, fourWords)
			require.NotNil(t, verdict.Failure)
			require.Equal(t, c.kind, verdict.Failure.Kind, verdict.Failure.Detail)
		})
	}
	p := asking(t, "")
	p.target.Credential = "another"
	require.Equal(t, "http 401", p.overHTTP(t.Context(), openAI, fourWords).Failure.Kind)
}

// scripted is a gateway that says these messages and then ends so.
type scripted struct {
	llmv1.UnimplementedLLMGatewayServiceServer
	says []*llmv1.StreamGenerateResponse
	ends error
}

func (s *scripted) StreamGenerate(_ *llmv1.StreamGenerateRequest, to grpc.ServerStreamingServer[llmv1.StreamGenerateResponse]) error {
	for _, message := range s.says {
		if err := to.Send(message); err != nil {
			return err
		}
	}
	return s.ends
}

func (s *scripted) serve(t *testing.T) *prompter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	llmv1.RegisterLLMGatewayServiceServer(server, s)
	go func() { _ = server.Serve(listener) }() // ends when it is stopped
	t.Cleanup(server.Stop)
	return prompterOf(t, PromptTarget{HTTP: "127.0.0.1:1", GRPC: listener.Addr().String()})
}

func TestAGenerationOverGRPCIsWholeWithDoneAndOK(t *testing.T) {
	text := &llmv1.StreamGenerateResponse{Kind: &llmv1.StreamGenerateResponse_Text{Text: "one two three four"}}
	done := &llmv1.StreamGenerateResponse{Kind: &llmv1.StreamGenerateResponse_Done{Done: &llmv1.Done{FinishReason: llmv1.FinishReason_FINISH_REASON_STOP}}}
	draining := status.Error(codes.Aborted, "draining")
	for name, c := range map[string]struct {
		gateway scripted
		kind    string // empty: it is whole
	}{
		"text, done, OK":        {scripted{says: []*llmv1.StreamGenerateResponse{text, done}}, ""},
		"OK without done":       {scripted{says: []*llmv1.StreamGenerateResponse{text}}, load.Closed},
		"done without the text": {scripted{says: []*llmv1.StreamGenerateResponse{done}}, load.WrongAnswer},
		"an error in its midst": {scripted{says: []*llmv1.StreamGenerateResponse{text}, ends: draining}, "grpc ABORTED"},
		"an error after done":   {scripted{says: []*llmv1.StreamGenerateResponse{text, done}, ends: draining}, "grpc ABORTED"},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := c.gateway.serve(t).overRPC(t.Context(), "m", fourWords)
			if c.kind == "" {
				require.Nil(t, verdict.Failure)
				return
			}
			require.NotNil(t, verdict.Failure)
			require.Equal(t, c.kind, verdict.Failure.Kind, verdict.Failure.Detail)
		})
	}
}

// TestGenerationsAreOpenedAllTheTimeAndAwaited: as many are open as were asked for,
// and the verdict waits for the last of them.
func TestGenerationsAreOpenedAllTheTimeAndAwaited(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		answer := openAIAnswer
		if r.URL.Path == anthropic.path {
			answer = anthropicAnswer
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	options := PromptOptions{Streams: 40, Shortest: time.Second, Longest: time.Second}
	p, err := StartPrompting(t.Context(), PromptTarget{HTTP: address, GRPC: address, Credential: "key"}, options)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.judge().Sent >= 20 }, 20*time.Second, 10*time.Millisecond)
	p.Stop()
	judged := make(chan *Verdict, 1)
	go func() { // ends with the verdict, which is awaited below
		verdict, _ := p.Wait(context.WithoutCancel(t.Context()))
		judged <- verdict
	}()
	select {
	case <-judged:
		require.Fail(t, "there was a verdict while generations were under way")
	case <-time.After(100 * time.Millisecond): // nothing tells that nothing happens
	}
	close(release)
	verdict := <-judged
	for kind := range verdict.Failed {
		require.NotEqual(t, load.Closed, kind) // gRPC is not served here, and fails in another way
	}
	require.False(t, verdict.Passed)
	require.GreaterOrEqual(t, verdict.Sent, int64(20))
}

func TestPromptOptionsThatCannotWorkAreRefused(t *testing.T) {
	require.NoError(t, DefaultPromptOptions().Validate())
	require.InEpsilon(t, 20.0/30, DefaultPromptOptions().rate(), 0.001, "twenty that take half a minute each")
	for _, options := range []PromptOptions{
		{Streams: 0, Shortest: 1, Longest: 1},
		{Streams: 1, Shortest: 0, Longest: 1},
		{Streams: 1, Shortest: 2, Longest: 1},
		{Streams: 1, Shortest: 1, Longest: 2 * time.Hour},
	} {
		require.Error(t, options.Validate())
	}
	_, err := StartPrompting(t.Context(), PromptTarget{HTTP: "a:1"}, DefaultPromptOptions())
	require.ErrorContains(t, err, "the target needs")
}
