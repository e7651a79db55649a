package payments

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/page"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// defaultPageSize is what a page size of zero means. The contract bounds the
// rest.
const defaultPageSize = 50

// ListPayments returns payments of the caller's tenant, newest first. A page
// token holds the last payment of the page before and the filter it was made
// for.
func (a *api) ListPayments(ctx context.Context, r *paymentsv1.ListPaymentsRequest) (*paymentsv1.ListPaymentsResponse, error) {
	f := filter{Tenant: auth.Tenant(ctx), Reference: r.GetReference(), State: stateFromProto(r.GetState())}
	// A reference has no spaces, so that two filters never read the same.
	bound := strings.Join([]string{"payments", f.Tenant, f.Reference, string(f.State)}, " ")
	after := newest
	if r.GetPageToken() != "" {
		cursor, err := page.Decode(r.GetPageToken(), bound)
		if err != nil {
			return nil, toStatus(err)
		}
		id, err := uuid.Parse(cursor.ID)
		if err != nil {
			return nil, toStatus(page.ErrInvalid)
		}
		after = position{Time: cursor.Time, ID: id}
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = defaultPageSize
	}
	found, err := a.store.list(ctx, f, after, limit+1)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &paymentsv1.ListPaymentsResponse{}
	if len(found) > limit { // one more than asked for tells that there is a next page
		found = found[:limit]
		last := found[limit-1]
		response.NextPageToken = page.Encode(page.Cursor{Time: last.CreateTime, ID: last.ID.String()}, bound)
	}
	for _, p := range found {
		response.Payments = append(response.Payments, toProto(p))
	}
	return response, nil
}
