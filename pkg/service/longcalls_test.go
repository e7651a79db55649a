package service

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// staying is a shop whose calls and streams do not end when they are asked to, but
// when they are about to be cut off.
type staying struct {
	ordersv1.UnimplementedOrdersServiceServer
	llmv1.UnimplementedLLMGatewayServiceServer
}

var errCutOff = apierror.New(apierror.ReasonDraining, "cut off")

func stay(ctx context.Context) error {
	select {
	case <-CutOff(ctx):
		return errCutOff
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Generate says the key that it was called with, if it was, and otherwise stays.
func (staying) Generate(ctx context.Context, _ *llmv1.GenerateRequest) (*llmv1.GenerateResponse, error) {
	if key := metadata.ValueFromIncomingContext(ctx, idempotency.KeyMetadata); len(key) > 0 {
		if key[0] == "slow" {
			wait(ctx, slowAnswer)
		}
		return &llmv1.GenerateResponse{Id: key[0]}, nil
	}
	return nil, stay(ctx)
}

// a prompt that is one.
func prompt() *llmv1.GenerateRequest {
	return &llmv1.GenerateRequest{Prompt: &llmv1.Prompt{Model: "any", Messages: []*llmv1.Message{
		{Role: llmv1.Role_ROLE_USER, Parts: []*llmv1.Part{{Kind: &llmv1.Part_Text{Text: "hello"}}}},
	}}}
}

// WatchOrder says that it has begun, and when it was asked to end.
func (staying) WatchOrder(_ *ordersv1.WatchOrderRequest, stream grpc.ServerStreamingServer[ordersv1.WatchOrderResponse]) error {
	ctx := stream.Context()
	if err := stream.Send(&ordersv1.WatchOrderResponse{}); err != nil {
		return err
	}
	select {
	case <-Draining(ctx):
		if err := stream.Send(&ordersv1.WatchOrderResponse{Revision: 1}); err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return stay(ctx)
}

const promptJSON = `{"prompt":{"model":"any","messages":[{"role":"ROLE_USER","parts":[{"text":"hello"}]}]}}`

// enduring is a service of long calls.
func enduring() Definition {
	return Definition{Name: "shop", LongCalls: true, Module: fx.Module("shop", fx.Provide(newUnusedStore),
		ProvideAPI(func() API {
			return API{
				Register: func(r grpc.ServiceRegistrar) { ordersv1.RegisterOrdersServiceServer(r, staying{}) },
				Gateway:  ordersv1.RegisterOrdersServiceHandler,
			}
		}),
		ProvideAPI(generating),
	)}
}

func generating() API {
	return API{
		Register: func(r grpc.ServiceRegistrar) { llmv1.RegisterLLMGatewayServiceServer(r, staying{}) },
		Gateway:  llmv1.RegisterLLMGatewayServiceHandler,
	}
}

// TestCallsAndStreamsAreToldBeforeTheyAreCutOff: the last thing that a client hears
// is why, over gRPC and over HTTP.
func TestCallsAndStreamsAreToldBeforeTheyAreCutOff(t *testing.T) {
	i := start(t, enduring(), "HOLDFAST_DRAIN_CAP", "4s", "HOLDFAST_CUT_OFF_BEFORE", "3s", "HOLDFAST_LAME_DUCK", "0s",
		"HOLDFAST_STREAM_HEARTBEAT", "1m")
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, overHTTP := i.stream("/v1/orders/"+orderFine+":watch", "Accept", "application/json")
	require.Contains(t, overHTTP.line(), "result")
	called := make(chan error, 1)
	conn := i.dial()
	client := ordersv1.NewOrdersServiceClient(conn)
	go func() {
		_, err := llmv1.NewLLMGatewayServiceClient(conn).Generate(t.Context(), prompt())
		called <- err
	}()
	// A second stream on the connection of the call: what it has got was sent later.
	after, err := client.WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
	require.NoError(t, err)
	_, err = after.Recv()
	require.NoError(t, err)

	require.NoError(t, i.drain(), "nothing was cut off")
	told, err := stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 1, told.GetRevision(), "asked first")
	_, err = stream.Recv()
	require.ErrorContains(t, err, "cut off")
	require.Contains(t, overHTTP.line(), `"revision":"1"`)
	require.Contains(t, overHTTP.line(), "cut off")
	require.ErrorContains(t, <-called, "cut off")
}

// TestADrainThatDoesNotEndTheProcessTellsBeforeItCutsOff as well.
func TestADrainThatDoesNotEndTheProcessTellsBeforeItCutsOff(t *testing.T) {
	i := start(t, enduring(), "HOLDFAST_DRAIN_CAP", "2s", "HOLDFAST_CUT_OFF_BEFORE", "1s")
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, i.admin(http.MethodPost).StatusCode)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = stream.Recv()
	require.ErrorContains(t, err, "cut off")
}

// TestLongCallsOutliveTheirConnectionsGrace: new ones go elsewhere, these stay.
func TestLongCallsOutliveTheirConnectionsGrace(t *testing.T) {
	i := start(t, enduring(), "HOLDFAST_MAX_CONN_AGE", "300ms", "HOLDFAST_MAX_CONN_AGE_GRACE", "100ms",
		"HOLDFAST_DRAIN_CAP", "2s", "HOLDFAST_LAME_DUCK", "0s")
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	heard := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		heard <- err
	}()
	select {
	case err := <-heard:
		require.Fail(t, "it was told to end, or cut off", "%v", err)
	case <-time.After(1500 * time.Millisecond): // several times what it would have had
	}
	require.NoError(t, i.drain())
	require.NoError(t, <-heard, "told by the drain")
	_, err = stream.Recv()
	require.False(t, errors.Is(err, io.EOF))
	require.ErrorContains(t, err, "cut off")
}

// TestAnOptionalKeyIsTheHandlersBusiness: a service needs no store for it, and what
// was sent reaches the handler, also without one.
func TestAnOptionalKeyIsTheHandlersBusiness(t *testing.T) {
	i := start(t, Definition{Name: "shop", Module: fx.Module("shop", ProvideAPI(generating))})
	client := llmv1.NewLLMGatewayServiceClient(i.dial())
	answer, err := client.Generate(metadata.AppendToOutgoingContext(t.Context(), idempotency.KeyMetadata, "mine"), prompt())
	require.NoError(t, err)
	require.Equal(t, "mine", answer.GetId())
	require.Contains(t, i.send(http.MethodPost, "/v1/llm:generate", promptJSON, headerKey, `"mine"`).body, `"id":"mine"`)
	require.Equal(t, http.StatusBadRequest, i.send(http.MethodPost, "/v1/llm:generate", promptJSON, headerKey, "not one").StatusCode)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = client.Generate(ctx, prompt())
	require.Equal(t, codes.DeadlineExceeded, status.Code(err), "the handler stays: nobody asked for a key")
}

// TestTheTimeToWriteIsNotTheTimeToAnswer: a method may take as long as its policy
// says, over HTTP as well.
func TestTheTimeToWriteIsNotTheTimeToAnswer(t *testing.T) {
	i := start(t, enduring(), "HOLDFAST_READ_TIMEOUT", "300ms", "HOLDFAST_WRITE_TIMEOUT", "300ms", "HOLDFAST_LAME_DUCK", "0s")
	answer := i.send(http.MethodPost, "/v1/llm:generate", promptJSON, headerKey, "slow")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, answer.body, "slow")
}

// TestAShortDrainKeepsTimeForWhatMayFinish.
func TestAShortDrainKeepsTimeForWhatMayFinish(t *testing.T) {
	require.Equal(t, 2*time.Second, Config{DrainCap: 20 * time.Second, CutOffBefore: 2 * time.Second}.cutOffBefore())
	require.Equal(t, 100*time.Millisecond, Config{DrainCap: 200 * time.Millisecond, CutOffBefore: 2 * time.Second}.cutOffBefore())
}
