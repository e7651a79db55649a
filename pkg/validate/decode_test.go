package validate

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// raw sends bytes as they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

type echo struct {
	ordersv1.UnimplementedOrdersServiceServer
}

func (echo) GetOrder(context.Context, *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	return &ordersv1.GetOrderResponse{}, nil
}

// sent sends bytes to GetOrder of a server that registers through register.
func sent(t *testing.T, register func(grpc.ServiceRegistrar) grpc.ServiceRegistrar, request []byte) error {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	ordersv1.RegisterOrdersServiceServer(register(server), echo{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Stop(); require.NoError(t, <-served) }()
	conn, err := grpc.NewClient("passthrough:test",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	return conn.Invoke(t.Context(), ordersv1.OrdersService_GetOrder_FullMethodName, request, nil, grpc.ForceCodecV2(raw{}))
}

func unwrapped(server grpc.ServiceRegistrar) grpc.ServiceRegistrar { return server }

func TestARequestThatDoesNotDecodeIsTheClientsFault(t *testing.T) {
	good, err := proto.Marshal(&ordersv1.GetOrderRequest{Id: "x"})
	require.NoError(t, err)
	require.NoError(t, sent(t, Registrar, good))
	for name, request := range map[string][]byte{
		"garbage":       {0xff, 0xff, 0xff},
		"cut":           good[:len(good)-1],
		"invalid UTF-8": {0x0a, 0x01, 0xff},
	} {
		err := sent(t, Registrar, request)
		reason, _ := apierror.ReasonOf(err)
		require.Equal(t, apierror.ReasonMalformedRequest, reason, name)
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
		// The control: grpc-go itself says that it is the server's.
		require.Equal(t, codes.Internal, status.Code(sent(t, unwrapped, request)), name)
	}
}
