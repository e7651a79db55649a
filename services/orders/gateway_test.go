package orders

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// recorder is an API that remembers the last update it was asked for.
type recorder struct {
	ordersv1.OrdersServiceClient
	got *ordersv1.UpdateOrderRequest
}

func (r *recorder) UpdateOrder(_ context.Context, request *ordersv1.UpdateOrderRequest, _ ...grpc.CallOption) (*ordersv1.UpdateOrderResponse, error) {
	r.got = request
	return &ordersv1.UpdateOrderResponse{}, nil
}

func TestIfMatchIsTheEtagOfARequestWithout(t *testing.T) {
	for name, test := range map[string]struct {
		header, body string
		want         string
		refused      bool
	}{
		"header only":         {header: `"v2"`, want: `"v2"`},
		"body only":           {body: "v2", want: "v2"},
		"both, and the same":  {header: `"v2"`, body: "v2", want: "v2"},
		"both, and different": {header: `"v3"`, body: "v2", refused: true},
		"neither":             {},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if test.header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "if-match", test.header)
			}
			var r recorder
			request := &ordersv1.UpdateOrderRequest{Etag: test.body}
			_, err := httpClient{&r}.UpdateOrder(ctx, request)
			require.Equal(t, test.body, request.GetEtag(), "the caller's request is left alone")
			if test.refused {
				requireReason(t, apierror.ReasonInvalidField, err)
				require.Nil(t, r.got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, r.got.GetEtag())
		})
	}
}
