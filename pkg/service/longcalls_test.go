package service

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// staying is a shop whose calls and streams do not end when they are asked to, but
// when they are about to be cut off.
type staying struct {
	ordersv1.UnimplementedOrdersServiceServer
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

func (staying) GetOrder(ctx context.Context, _ *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	return nil, stay(ctx)
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

// enduring is a service of long calls.
func enduring() Definition {
	return Definition{Name: "shop", LongCalls: true, Module: fx.Module("shop", fx.Provide(newUnusedStore), ProvideAPI(func() API {
		return API{
			Register: func(r grpc.ServiceRegistrar) { ordersv1.RegisterOrdersServiceServer(r, staying{}) },
			Gateway:  ordersv1.RegisterOrdersServiceHandler,
		}
	}))}
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
	client := i.client()
	go func() {
		_, err := client.GetOrder(context.Background(), &ordersv1.GetOrderRequest{Id: orderFine})
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
	require.Equal(t, 200, i.admin("POST").StatusCode)
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

// TestAShortDrainKeepsTimeForWhatMayFinish.
func TestAShortDrainKeepsTimeForWhatMayFinish(t *testing.T) {
	require.Equal(t, 2*time.Second, Config{DrainCap: 20 * time.Second, CutOffBefore: 2 * time.Second}.cutOffBefore())
	require.Equal(t, 100*time.Millisecond, Config{DrainCap: 200 * time.Millisecond, CutOffBefore: 2 * time.Second}.cutOffBefore())
}
