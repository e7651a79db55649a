package orders

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
)

// fakeLLM plays the LLM gateway, which is outside of orders.
type fakeLLM struct {
	llmv1.UnimplementedLLMGatewayServiceServer

	mu     sync.Mutex
	answer func(context.Context) (*llmv1.GenerateResponse, error)
	asked  []*llmv1.GenerateRequest
	tenant string // of the last request
}

// startLLM runs the fake, which answers "All is well." until it is told otherwise.
func startLLM(t *testing.T) (*fakeLLM, string) {
	t.Helper()
	fake := &fakeLLM{}
	fake.says(says(llmv1.FinishReason_FINISH_REASON_STOP, "All is ", "well.\n"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	llmv1.RegisterLLMGatewayServiceServer(server, fake)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return fake, "dns:///" + listener.Addr().String()
}

type llmAnswer = func(context.Context) (*llmv1.GenerateResponse, error)

// says is an answer of these texts.
func says(reason llmv1.FinishReason, texts ...string) llmAnswer {
	answer := &llmv1.GenerateResponse{FinishReason: reason, Served: &llmv1.Served{Provider: "sandbox", Model: "small-2"}}
	for _, text := range texts {
		answer.Parts = append(answer.Parts, &llmv1.Part{Kind: &llmv1.Part_Text{Text: text}})
	}
	return func(context.Context) (*llmv1.GenerateResponse, error) { return answer, nil }
}

// fails is no answer.
func fails(err error) llmAnswer {
	return func(context.Context) (*llmv1.GenerateResponse, error) { return nil, err }
}

// hangs answers when the caller has left.
func hangs(ctx context.Context) (*llmv1.GenerateResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (f *fakeLLM) says(answer llmAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// calls returns what was asked so far.
func (f *fakeLLM) calls() []*llmv1.GenerateRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[:len(f.asked):len(f.asked)]
}

func (f *fakeLLM) Generate(ctx context.Context, r *llmv1.GenerateRequest) (*llmv1.GenerateResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.asked = append(f.asked, r)
	if acting := md.Get("holdfast-act-as-tenant"); len(acting) == 1 {
		f.tenant = acting[0]
	}
	answer := f.answer
	f.mu.Unlock()
	return answer(ctx)
}
