package orders

import (
	"context"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/service"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// registerGateway serves the API over HTTP.
func registerGateway(ctx context.Context, mux *runtime.ServeMux, conn *grpc.ClientConn) error {
	return ordersv1.RegisterOrdersServiceHandlerClient(ctx, mux, httpClient{ordersv1.NewOrdersServiceClient(conn)})
}

// httpClient is how the gateway calls the API. HTTP has headers for what gRPC says
// in fields: If-Match is the etag and Last-Event-ID the resume token, before
// anything validates them.
type httpClient struct{ ordersv1.OrdersServiceClient }

// UpdateOrder takes the etag from If-Match if the body has none. Two that differ
// are refused: the client must know which version it means.
func (c httpClient) UpdateOrder(ctx context.Context, r *ordersv1.UpdateOrderRequest, opts ...grpc.CallOption) (*ordersv1.UpdateOrderResponse, error) {
	sent, _ := metadata.FromOutgoingContext(ctx)
	for _, ifMatch := range sent.Get("if-match") {
		switch {
		case r.GetEtag() == "":
			r = proto.CloneOf(r)
			r.Etag = ifMatch
		case versionOf(r.GetEtag()) != versionOf(ifMatch):
			return nil, apierror.New(apierror.ReasonInvalidField, "the request names two versions",
				apierror.WithField("etag", "differs from the If-Match header"))
		}
	}
	return c.OrdersServiceClient.UpdateOrder(ctx, r, opts...)
}

// WatchOrder goes on after the event that Last-Event-ID names. That is said by who
// reconnects, with the URL that it began with: it is newer than what the URL says.
func (c httpClient) WatchOrder(ctx context.Context, r *ordersv1.WatchOrderRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[ordersv1.WatchOrderResponse], error) {
	sent, _ := metadata.FromOutgoingContext(ctx)
	for _, last := range sent.Get(service.LastEventMetadata) {
		r = proto.CloneOf(r)
		r.ResumeToken = last
	}
	return c.OrdersServiceClient.WatchOrder(ctx, r, opts...)
}

// accepted reports whether an answer is of something still under way, which
// HTTP says with 202.
func accepted(answer proto.Message) bool {
	switch answer := answer.(type) {
	case *ordersv1.CreateOrderResponse:
		return answer.GetOrder().GetState() == ordersv1.OrderState_ORDER_STATE_PENDING_PAYMENT
	case *ordersv1.CancelOrderResponse:
		return answer.GetOrder().GetState() == ordersv1.OrderState_ORDER_STATE_CANCELLING
	default:
		return false
	}
}
