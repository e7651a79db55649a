package orders

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/page"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// defaultPageSize is what a page size of zero means. The contract bounds the
// rest.
const defaultPageSize = 50

func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPageSize
	}
	return int(asked)
}

// endOfTime is later than every order: where a list that goes backwards begins.
var endOfTime = page.Cursor{Time: time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC), ID: uuid.Max.String()}

// ListOrders returns orders of the caller's tenant, newest first. A page token
// holds the last order of the page before and the filter it was made for.
func (a *api) ListOrders(ctx context.Context, r *ordersv1.ListOrdersRequest) (*ordersv1.ListOrdersResponse, error) {
	tenant, state := auth.Tenant(ctx), stateFromProto(r.GetState())
	filter := "orders/" + tenant + "/" + string(state)
	cursor := endOfTime
	if r.GetPageToken() != "" {
		var err error
		if cursor, err = page.Decode(r.GetPageToken(), filter); err != nil {
			return nil, toStatus(err)
		}
	}
	last, err := uuid.Parse(cursor.ID)
	if err != nil {
		return nil, toStatus(page.ErrInvalid)
	}
	limit := pageSize(r.GetPageSize())
	found, err := a.store.list(ctx, tenant, state, cursor.Time, last, limit+1)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &ordersv1.ListOrdersResponse{}
	if len(found) > limit { // one more than asked for tells that there is a next page
		found = found[:limit]
		end := found[limit-1]
		response.NextPageToken = page.Encode(page.Cursor{Time: end.createTime, ID: end.id.String()}, filter)
	}
	for _, o := range found {
		response.Orders = append(response.Orders, a.show.order(ctx, o))
	}
	return response, nil
}

// ListProducts returns the catalogue by id. It is the same for every tenant.
func (a *api) ListProducts(ctx context.Context, r *ordersv1.ListProductsRequest) (*ordersv1.ListProductsResponse, error) {
	const filter = "products"
	var cursor page.Cursor
	if r.GetPageToken() != "" {
		var err error
		if cursor, err = page.Decode(r.GetPageToken(), filter); err != nil {
			return nil, toStatus(err)
		}
	}
	limit := pageSize(r.GetPageSize())
	found, err := a.store.listProducts(ctx, cursor.ID, limit+1)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &ordersv1.ListProductsResponse{}
	if len(found) > limit {
		found = found[:limit]
		response.NextPageToken = page.Encode(page.Cursor{ID: found[limit-1].ID}, filter)
	}
	for _, p := range found {
		response.Products = append(response.Products, productToProto(p))
	}
	return response, nil
}
