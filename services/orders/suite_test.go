package orders

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/idempotency/idempotencytest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/services/orders/migrations"
)

// TestCreateOrderKeepsThePromisesOfItsKey counts what payments took: that is
// what a repeat must not do again.
func TestCreateOrderKeepsThePromisesOfItsKey(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	idempotencytest.Suite(t, idempotencytest.Subject{
		Method: ordersv1.OrdersService_CreateOrder_FullMethodName,
		Conn:   w.conn, HTTP: w.http, Pool: w.pool,
		Tenant: "acme", Token: auth.DevelopmentKey, OtherToken: auth.DevelopmentKeyOther,
		Request:    func(testing.TB) proto.Message { return cups() },
		Mutate:     func(m proto.Message) { m.(*ordersv1.CreateOrderRequest).Lines[0].Quantity++ },
		Invalidate: func(m proto.Message) { m.(*ordersv1.CreateOrderRequest).Lines[0].Quantity = -1 },
		Effects: func(testing.TB) int {
			captures, _ := w.payments.counts()
			return captures
		},
		Obstruct: func(tb testing.TB, _ proto.Message) func() {
			rename := func(from, to string) {
				_, err := w.pool.Exec(context.Background(), `UPDATE products SET id = $2 WHERE id = $1`, from, to)
				require.NoError(tb, err)
			}
			rename("espresso-cup", "withdrawn")
			return func() { rename("withdrawn", "espresso-cup") }
		},
	})
	w.requireNothingOpen(t)
}

func TestCancelOrderKeepsThePromisesOfItsKey(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	idempotencytest.Suite(t, idempotencytest.Subject{
		Method: ordersv1.OrdersService_CancelOrder_FullMethodName,
		Conn:   w.conn, HTTP: w.http, Pool: w.pool,
		Tenant: "acme", Token: auth.DevelopmentKey, OtherToken: auth.DevelopmentKeyOther,
		Request: func(tb testing.TB) proto.Message {
			response, err := w.client.CreateOrder(keyed(context.Background()), cups())
			require.NoError(tb, err)
			return &ordersv1.CancelOrderRequest{Id: response.GetOrder().GetId()}
		},
		Mutate:     func(m proto.Message) { m.(*ordersv1.CancelOrderRequest).Id = uuid.NewString() },
		Invalidate: func(m proto.Message) { m.(*ordersv1.CancelOrderRequest).Id = "not-an-id" },
		Effects: func(tb testing.TB) int {
			var n int
			require.NoError(tb, w.pool.QueryRow(context.Background(),
				`SELECT count(*) FROM orders WHERE state IN ('CANCELLING', 'CANCELLED')`).Scan(&n))
			return n
		},
		// An order is cancelled once: having done it is the obstruction.
		Obstruct: func(testing.TB, proto.Message) func() { return func() {} },
	})
	w.requireNothingOpen(t)
	captures, refunds := w.payments.counts()
	require.Equal(t, captures-w.count(t, `SELECT count(*) FROM orders WHERE state = 'PAID'`), refunds)
}

func TestTheFirstMigrationIsTheOneOfPkgIdempotency(t *testing.T) {
	t.Parallel()
	idempotencytest.MigrationIsCurrent(t, migrations.FS)
}

// TestOverHTTPAnOrderUnderWayIs202AlsoWhenReplayed: the status is of the stored
// answer, whatever became of the order since.
func TestOverHTTPAnOrderUnderWayIs202AlsoWhenReplayed(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	w.payments.set(fakeFaults{down: true})
	key := idempotency.NewKey().String()
	status, first, replayed := w.post(t, "/v1/orders", key, `{"lines":[{"productId":"espresso-cup","quantity":1}],"paymentMethod":"pm_card_ok"}`)
	require.Equal(t, http.StatusAccepted, status, first)
	require.Empty(t, replayed)

	w.payments.set(fakeFaults{})
	id := w.only(t).GetId()
	w.awaitState(t, id, statePaid)
	status, again, replayed := w.post(t, "/v1/orders", key, `{"paymentMethod":"pm_card_ok","lines":[{"quantity":1,"productId":"espresso-cup"}]}`)
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, first, again)
	require.Equal(t, "true", replayed)

	status, body, _ := w.post(t, "/v1/orders/"+id+":cancel", idempotency.NewKey().String(), `{}`)
	require.Equal(t, http.StatusAccepted, status, body)
	w.awaitState(t, id, stateCancelled)
}

// post sends JSON with a key and returns status, body and the replay marker.
func (w *whole) post(t *testing.T, path, key, body string) (status int, answer, replayed string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.http+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(data), response.Header.Get("Idempotent-Replayed")
}
